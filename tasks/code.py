"""The code that a task or a stage runs, and what it computes with: an edited formula never serves yesterday's map."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nand_core.artifacts.store import digest

PACKAGES = ("nand_core", "tasks", "flows")
COMPUTING = {
    "PIL": ("pillow",),
    "jinja2": ("jinja2",),
    "numpy": ("numpy",),
    "open_clip": ("open_clip_torch",),
    "pandas": ("pandas", "pyarrow"),
    "safetensors": ("safetensors",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
    "timm": ("timm",),
    "torch": ("torch",),
    "torchvision": ("torchvision",),
}
"""Modules whose packages' versions can change a result; the others carry, schedule or validate it."""

_PARSING = threading.Lock()


@dataclass(frozen=True)
class Code:
    """What a module is made of.

    Attributes:
        modules: sha256 of the source of every project module that it imports, at any depth, and of its own.
        sources: their files.
        libraries: version of every package that they compute with; "" where it is not installed.
    """

    modules: dict[str, str]
    sources: dict[str, Path] = field(compare=False)
    libraries: dict[str, str]

    @property
    def digest(self) -> str:
        """One sha256 of all."""
        return digest({"modules": self.modules, "libraries": self.libraries})


@lru_cache
def code_digest(module: str) -> str:
    """The digest of a module's :class:`Code`."""
    return code_of(module, own_sources()).digest


@lru_cache
def own_sources() -> Sources:
    """Those of this process's keys: what several tasks import is read once."""
    return Sources()


class Sources:
    """The project's modules and the libraries as they are now: each is looked for and read once.

    Args:
        read: gives the sha256 of a source file and the modules that it imports; None: :func:`read_source`.
    """

    def __init__(self, read: Callable[[Path], list[Any]] | None = None) -> None:
        self._read = read or read_source
        self._modules: dict[str, tuple[Path, str, list[str]] | None] = {}
        self._versions: dict[str, str] = {}

    def module(self, name: str) -> tuple[Path, str, list[str]] | None:
        """Its file, the sha256 of that, and what it imports; None for a name inside a module."""
        if name not in self._modules:
            path = _source(name)
            self._modules[name] = (path, *self._read(path)) if path else None
        return self._modules[name]

    def version(self, package: str) -> str:
        """"" where it is not installed."""
        if package not in self._versions:
            self._versions[package] = _version(package)
        return self._versions[package]


def code_of(module: str, sources: Sources | None = None) -> Code:
    """The code of a module. What is imported for type checkers alone is not used, and so no part of it.

    Args:
        sources: of one look at several modules; None: looked at anew.
    """
    sources = sources or Sources()
    found: dict[str, tuple[Path, str]] = {}
    libraries: set[str] = set()
    open_names = [module]
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        if name.partition(".")[0] not in PACKAGES:
            libraries.update(COMPUTING.get(name.partition(".")[0], ()))
        elif made := sources.module(name):
            path, sha256, imported = made
            found[name] = path, sha256
            open_names += imported
    return Code(
        {name: sha256 for name, (_, sha256) in sorted(found.items())},
        {name: path for name, (path, _) in sorted(found.items())},
        {name: sources.version(name) for name in sorted(libraries)},
    )


def read_source(path: Path) -> list[Any]:
    """The sha256 of a source file and the names of the modules that it may import."""
    source = path.read_bytes()
    # CPython 3.11's parser counts its depth for all threads together: two at once can end in SystemError.
    with _PARSING:
        tree = ast.parse(source)
    return [hashlib.sha256(source).hexdigest(), sorted(set(_imports(tree)))]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@lru_cache
def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{name}: no package whose sources could be read", name=name)
    return Path(found.origin).parent


def _source(name: str) -> Path | None:
    """The file of a project module; None for a name inside a module. Nothing is imported to find it."""
    package, *parts = name.split(".")
    base = _package(package).joinpath(*parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.AST) -> Iterator[str]:
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom) and tree.module:
        yield tree.module
        if tree.module.partition(".")[0] in PACKAGES:
            yield from (f"{tree.module}.{alias.name}" for alias in tree.names)
    elif isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        for statement in tree.orelse:
            yield from _imports(statement)
    else:
        for child in ast.iter_child_nodes(tree):
            yield from _imports(child)
