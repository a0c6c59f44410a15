"""What somebody is about to say is fine: words, images pointed at, boxes in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from nand.project.change import Change, Groups
from nand.project.examples import Examples, Given
from nand.project.plans import addition
from nand_core.config import Params
from nand_core.settings import Settings

UNNAMED = "as shown"
"""What images are called that nobody has named yet."""

Key = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Pixels = Annotated[int, Field(ge=0, le=100_000)]


class Pointed(Settings):
    """An image that somebody points at.

    Attributes:
        source: a test image, one that the line dropped, or one that was sent from the browser.
        key: 16 digits that tell it from the others: of its sha256, or of the line's id.
        box: x, y, width and height in pixels.
    """

    source: Literal["test", "line", "sent"]
    key: Key
    box: tuple[Pixels, Pixels, Pixels, Pixels] | None = None


Find = Callable[[str, Pointed], Path]
"""Where the file of an image of a class is; NandError where there is none."""


class Draft(Settings):
    """What is to be fine for one class, in words, by images, or both.

    Attributes:
        text: with images, and unless ``ask``, a name alone.
        phrases: in place of generated ones.
        like, unlike: images that show it, and such that have to stay rejected.
        ask: with images, let the words count as well.
        strength: how far what it claims falls, over 0 to 1.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    class_name: str = Field(alias="class", max_length=200)
    text: str = Field("", max_length=200)
    phrases: tuple[Annotated[str, Field(max_length=200)], ...] = Field((), max_length=20)
    like: tuple[Pointed, ...] = Field((), max_length=100)
    unlike: tuple[Pointed, ...] = Field((), max_length=100)
    ask: bool = False
    strength: float = Field(1.0, gt=0, le=1)

    @field_validator("phrases")
    @classmethod
    def _said(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one for one in value if one.strip())

    def examples(self, find: Find) -> Examples:
        """Its images as ``nand add`` takes them: those of the test set are allowed, and left out of what is counted."""
        like, unlike = (tuple(_given(self.class_name, one, find) for one in side) for side in (self.like, self.unlike))
        return Examples(like, unlike, from_test=True)


def _given(class_name: str, one: Pointed, find: Find) -> Given:
    return Given(find(class_name, one), ",".join(map(str, one.box)) if one.box else None)


def planned(class_name: str, text: str, phrases: tuple[str, ...], **how: Any) -> Callable[[Params, Groups], Change]:
    """The plan that ``nand add`` has with the same words, images and strength: ``nand.project.plans.addition``."""
    return lambda params, groups: addition(params, groups, class_name, text, phrases, **how)


COMMAND_LINE = {
    r"^nand add [^:]*: ": "",
    r"^([^:]*/)?[0-9a-f]{16}-(?=[^/:]+:)": "",  # a copy's folder and digits, before its own name
    "see 'nand list'; remove it to change it": "take it back first to change it",
    r", or force it with \S+$": "",
    r"say (where to look|what is meant) with --box or --mask": "draw a box around what you mean",
    r"(\d+) examples, but \S+ allows (\d+); leave some out or raise it": r"\1 images, at most \2; leave some out",
    r"run 'nand repro' first(, then try)?": "whoever looks after this page has to run 'nand repro' first",
}


def for_operators(error: Exception) -> str:
    """What is wrong, in one line, without the words of the command line."""
    message = " ".join(str(error).split())
    for theirs, ours in COMMAND_LINE.items():
        message = re.sub(theirs, ours, message)
    return message
