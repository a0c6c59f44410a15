"""Lists in a YAML file made longer or shorter by the lines concerned, every other byte left as it is."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nand_core.artifacts.disk import replacing
from nand_core.errors import NandError
from nand_core.yaml12 import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    YAMLError,
    compose,
    construct,
    inline,
    load,
)

BREAKS = ("\n", "\r")
BREAK = "\r\n|\n|\r"


def read(path: Path) -> str:
    """The file's text with its line breaks as they are."""
    return path.read_bytes().decode("utf-8")


def write(path: Path, text: str) -> None:
    """Replace the file, or what it links to, by one of the same permissions with this text."""
    path = path.resolve()
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))
        if path.exists():
            shutil.copymode(path, temporary)


def append(text: str, keys: Sequence[str], items: Sequence[Any]) -> str:
    """Append ``items`` to the list that lies at ``keys``; mappings and list are made where they are missing.

    Raises
    ------
    NandError
        When something else than a list lies there.
    """
    wanted = _loaded(text)
    inner = wanted
    for key in keys[:-1]:
        inner[key] = inner = _container(inner.get(key), dict, keys)
    inner[keys[-1]] = [*_container(inner.get(keys[-1]), list, keys), *items]
    return _checked(_append(text, keys, list(items)), wanted, keys)


def put(text: str, keys: Sequence[str], value: Any) -> str:
    """Replace the value at ``keys``, which has to be there, by another one."""
    wanted = _loaded(text)
    inner = wanted
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    node = compose(text)
    for key in keys:
        found = _child(node, key) if node is not None else None
        node = found[1] if found else None
    if node is None:
        raise NandError(f"{'.'.join(keys)}: not there; edit it by hand")
    return _checked(text[: node.start_mark.index] + _written(value) + text[_end(node) :], wanted, keys)


def discard(text: str, keys: Sequence[str], chosen: Callable[[Any], bool]) -> str:
    """Remove the ``chosen`` items from the list at ``keys``, and the list itself where none is left."""
    wanted = _loaded(text)
    parent = wanted
    for key in keys[:-1]:
        parent = parent[key]
    kept = [item for item in parent[keys[-1]] if not chosen(item)]
    if kept:
        parent[keys[-1]] = kept
    else:
        del parent[keys[-1]]
    return _checked(_discard(text, keys, chosen), wanted, keys)


def _loaded(text: str) -> Any:
    """The file's values; what an alias names is a copy, as an edit must not reach both places."""
    return json.loads(json.dumps(load(text) or {}, default=str))


def _container(value: Any, kind: type, keys: Sequence[str]) -> Any:
    if value is not None and not isinstance(value, kind):
        raise NandError(f"{'.'.join(keys)}: expected a list there, found {type(value).__name__}; edit it by hand")
    return value if value is not None else kind()


def _checked(text: str, wanted: Any, keys: Sequence[str]) -> str:
    try:
        right = _filled(_loaded(text)) == _filled(wanted)
    except YAMLError:
        right = False
    if not right:
        raise NandError(f"{'.'.join(keys)}: written in an unusual way that cannot be edited safely; edit it by hand")
    return text


def _filled(value: Any) -> Any:
    """Without keys that hold nothing: ``{}`` and null mean the same there."""
    if not isinstance(value, Mapping):
        return value
    filled = {key: _filled(inner) for key, inner in value.items()}
    return {key: inner for key, inner in filled.items() if inner not in (None, {}, [])}


def _append(text: str, keys: Sequence[str], items: list[Any]) -> str:
    node: Node | None = compose(text)
    if node is None:
        return _below(text, len(text), 0, keys, items)
    for depth, key in enumerate(keys):
        found = _child(node, key)
        if found is None:
            return _into(text, node, keys[depth:], items)
        name, value = found
        if isinstance(value, ScalarNode) or not value.value:  # nothing, null, {} or []
            if not _flow(node):
                text = text[: value.start_mark.index].rstrip(" ") + text[value.end_mark.index :]
                at = _line_end(text, name.end_mark.index)
                return _below(text, at, name.start_mark.column + 2, keys[depth + 1 :], items)
            written = _written(_nested(keys[depth + 1 :], items))
            return f"{text[: name.end_mark.index]}: {written}{text[value.end_mark.index :]}"
        node = value
    return _into(text, node, (), items)


def _into(text: str, node: Node, keys: Sequence[str], items: list[Any]) -> str:
    """Add what lies under ``keys``, or the items themselves, behind the last child of a node that has some."""
    if not _flow(node):
        column = node.start_mark.column
        return _below(text, _line_end(text, _end(node)), column, keys, items)
    at = len(text[: node.end_mark.index - 1].rstrip())
    return f"{text[:at]}, {_written(_nested(keys, items))[1:-1]}{text[at:]}"


def _nested(keys: Sequence[str], items: list[Any]) -> Any:
    value: Any = items
    for key in reversed(keys):
        value = {key: value}
    return value


def _below(text: str, at: int, column: int, keys: Sequence[str], items: list[Any]) -> str:
    """Insert a block behind the line that ends at ``at``."""
    lines = []
    for key in keys:
        lines.append(f"{' ' * column}{_written(key)}:")
        column += 2
    lines += [f"{' ' * column}- {_written(item, bare=True)}" for item in items]
    before, end = text[:at], _line_break(text, at)
    if before and not before.endswith(BREAKS):
        before += end
    return before + "".join(f"{line}{end}" for line in lines) + text[at:]


def _line_break(text: str, at: int) -> str:
    """How the line before ``at`` ends, or else the first one."""
    found = re.findall(BREAK, text[:at])[-1:] or re.findall(BREAK, text)[:1] or ["\n"]
    return str(found[0])


def _discard(text: str, keys: Sequence[str], chosen: Callable[[Any], bool]) -> str:
    node: Node | None = compose(text)
    if node is None:
        return text
    chain: list[tuple[Node, Node, Node]] = []
    for key in keys:
        found = _child(node, key)
        if found is None:
            return text  # a merge key brings it in from elsewhere: _checked refuses that
        chain.append((node, *found))
        node = found[1]
    kept = [item for item in node.value if not chosen(construct(item))]
    if kept and _flow(node):
        return _with_only(text, [(item, item) for item in node.value], [item in kept for item in node.value])
    if kept:
        for item in reversed(node.value):
            if item not in kept:
                text = _without_lines(text, item.start_mark.index, _end(item))
        return text
    # The list's key goes, and every key above under which nothing else lies, unless a comment stands beside it.
    parent, name, _ = chain.pop()
    for above, its_name, value in reversed(chain):
        beside = text[its_name.end_mark.index : _line_end(text, its_name.end_mark.index)]
        if len(value.value) > 1 or "#" in beside:
            break
        parent, name = above, its_name
    if not _flow(parent):
        return _without_lines(text, name.start_mark.index, _end(node))
    if len(parent.value) > 1:
        return _with_only(text, parent.value, [key is not name for key, _ in parent.value])
    return text[: parent.start_mark.index] + "{}" + text[parent.end_mark.index :]


def _with_only(text: str, children: Sequence[tuple[Node, Node]], kept: Sequence[bool]) -> str:
    """Without the other children of a node in braces or brackets, each from its first to its last node."""
    spans = [(first.start_mark.index, last.end_mark.index) for first, last in children]
    begins = [spans[0][0], *(end for _, end in spans)]  # each with what separates it from the one before
    left = [i for i, keep in enumerate(kept) if keep]
    parts = [text[begins[i] if i != left[0] else spans[i][0] : spans[i][1]] for i in left]
    return text[: spans[0][0]] + "".join(parts) + text[spans[-1][1] :]


def _without_lines(text: str, first: int, last: int) -> str:
    begin = max(text.rfind(one, 0, first) for one in BREAKS) + 1
    return text[:begin] + text[_line_end(text, last) :]


def _child(node: Node, key: str) -> tuple[Node, Node] | None:
    return next((pair for pair in node.value if pair[0].value == key), None)


def _flow(node: Node) -> bool:
    """Whether it is written within braces or brackets."""
    return isinstance(node, MappingNode | SequenceNode) and bool(node.flow_style)


def _end(node: Node) -> int:
    """Where the text of a node ends: that of a block is said to reach to the next token, comments included."""
    if isinstance(node, ScalarNode) or _flow(node) or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last if isinstance(node, SequenceNode) else last[1])


def _line_end(text: str, index: int) -> int:
    """Behind the line break of the line in which ``index`` lies."""
    found = re.compile(BREAK).search(text, index)
    return found.end() if found else len(text)


def _written(value: Any, bare: bool = False) -> str:
    """One line of YAML; a ``bare`` mapping of one key has no braces."""
    if bare and isinstance(value, Mapping):
        ((key, inner),) = value.items()
        return f"{inline(key)}: {inline(inner)}"
    return inline(value)
