"""The versioned instruction that a language model gets (section 3: "Generate concise phrases ...")."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from string import Template

VERSION = "v1"

#: Structured output: what the answer must look like.
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"phrases": {"type": "array", "items": {"type": "string"}}},
    "required": ["phrases"],
    "additionalProperties": False,
}


@cache
def template() -> str:
    """The text of the instruction file: the first request, a line ``---``, the second request."""
    return files("nand_core.prompts").joinpath(f"instruction_{VERSION}.txt").read_text(encoding="utf-8")


def digest() -> str:
    """sha256 of the instruction's text."""
    return hashlib.sha256(template().encode()).hexdigest()


def first_request(name: str, group: str, count: int) -> str:
    """What is asked for ``count`` phrases about defects of type ``group`` on the object ``name``."""
    return _part(0).substitute(object=name, group=group, count=count)


def second_request(good: int, count: int) -> str:
    """What is asked when an answer held only ``good`` usable phrases and ``count`` more are wanted."""
    return _part(1).substitute(good=good, count=count)


def _part(index: int) -> Template:
    return Template(template().split("\n---\n")[index].strip())
