"""What every layout of a data set can tell about it without opening an image."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

GOOD = "good"


class Row(NamedTuple):
    """One image; ``path`` and ``mask`` ("" if none) are posix paths relative to the data root."""

    class_name: str
    type: str
    split: str
    path: str
    mask: str = ""


class Layout(Protocol):
    """A tree of images, read by class."""

    classes: list[str]

    def types(self, class_name: str) -> list[str]:
        """The anomaly types of a class."""

    def rows(self, class_name: str, ignore: Collection[str]) -> list[Row]:
        """Its images, without those of the types in ``ignore``; raises NandError for what cannot be right."""
