"""The one YAML that is read and written: 1.2, as DVC reads it too, in which a key is the name that stands there.

``no``, ``on`` and ``1:30`` are texts in it, ``12e5``, ``0o17`` and ``2024-01-01`` are not; as a key, each is a name.
What is written is quoted where a reader of YAML 1.1 or 1.2 would take it for something else than a text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml as yaml11
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["MappingNode", "Node", "ScalarNode", "SequenceNode", "YAMLError", "compose", "construct", "inline", "load"]

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_BOOLEAN_ELSEWHERE = re.compile("[yYnN]")
"""By the letter of YAML 1.1, whatever PyYAML does."""


def load(text: str) -> Any:
    """The values of a document; None for an empty one. Raises YAMLError."""
    node = compose(text)
    return None if node is None else construct(node)


def compose(text: str) -> Node | None:
    """The root node, with marks that count characters of ``text``. Raises YAMLError."""
    try:
        root: Node | None = _yaml().compose(text)
    except RecursionError as error:
        raise YAMLError("nested too deeply") from error
    seen: set[int] = set()
    open_nodes = [root] if root is not None else []
    while open_nodes:
        node = open_nodes.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if isinstance(key, ScalarNode) and not (key.style is None and key.tag == _MERGE):
                    key.tag = _TEXT
                open_nodes += [key, value]
        elif isinstance(node, SequenceNode):
            open_nodes += node.value
    return root


def construct(node: Node) -> Any:
    """The values of a node that :func:`compose` gave. Raises YAMLError."""
    return _yaml().constructor.construct_document(node)


def inline(value: Any) -> str:
    """Values as one line of YAML."""
    said = yaml11.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=1 << 20, allow_unicode=True, sort_keys=False
    )
    return str(said).removesuffix("\n").removesuffix("...").rstrip("\n")


def merge_mark(text: str) -> int:
    """The number of the first line that git left as the mark of a merge; 0 without any."""
    marks = (number for number, line in enumerate(text.splitlines(), 1) if line.startswith(("<<<<<<< ", ">>>>>>> ")))
    return next(marks, 0)


def is_plain_text(text: str) -> bool:
    """Whether a reader of YAML 1.2 takes it for a text without quotes."""
    return bool(_yaml().resolver.resolve(ScalarNode, text, (True, False)) == _TEXT)


class _Constructor(SafeConstructor):
    """Says of every value that it cannot make on which line it stands: ``2026-13-45``, ``!!int x``."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            repr(value if isinstance(value, int) else "")  # one of too many digits has no text
        except YAMLError:
            raise
        except Exception as error:  # int(), datetime() and others raise what they like
            said = f"no such value ({error}); a text goes in quotes"
            raise ConstructorError(None, None, said, node.start_mark) from error
        return value


class _Dumper(yaml11.SafeDumper):
    """Its own resolver, which is that of 1.1, quotes the rest."""


def _represent(dumper: _Dumper, text: str) -> yaml11.ScalarNode:
    quoted = _BOOLEAN_ELSEWHERE.fullmatch(text) or not is_plain_text(text)
    return dumper.represent_scalar(_TEXT, text, style="'" if quoted else None)


_Dumper.add_representer(str, _represent)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    return yaml
