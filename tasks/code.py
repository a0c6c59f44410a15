"""The digest of the code that a task runs: an edited formula never serves yesterday's map."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import threading
from functools import lru_cache
from pathlib import Path

PACKAGES = ("nand_core", "tasks")


_PARSING = threading.Lock()


def code_digest(module: str) -> str:
    """sha256 over the sources of ``module`` and of every project module that it imports, at any depth."""
    # CPython 3.11's parser counts its depth for all threads together: two at once can end in SystemError.
    with _PARSING:
        return _code_digest(module)


@lru_cache
def _code_digest(module: str) -> str:
    sources: dict[str, bytes] = {}
    open_names = [module]
    while open_names:
        name = open_names.pop()
        if name in sources:
            continue
        path = _source(name)
        if path is None:
            continue
        sources[name] = path.read_bytes()
        open_names += _imports(ast.parse(sources[name]))
    total = hashlib.sha256()
    for name in sorted(sources):
        total.update(f"{name} {len(sources[name])}\n".encode() + sources[name])
    return total.hexdigest()


def _source(name: str) -> Path | None:
    """The file of a project module; None for a name inside a module. Nothing is imported to find it."""
    package, *parts = name.split(".")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package}: no package whose sources could be read", name=package)
    base = Path(found.origin).parent.joinpath(*parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in PACKAGES]
