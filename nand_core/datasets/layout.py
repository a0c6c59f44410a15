"""What every layout of a data set can tell about it without opening an image."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

GOOD = "good"
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_BETWEEN = "//"
"""Of several masks: no path has it."""


class Row(NamedTuple):
    """One image; ``path`` and ``mask`` are posix paths relative to the data root.

    ``mask`` is "" where there is none; several are one text (:func:`mask_paths`).
    """

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


def joined_masks(masks: Iterable[str]) -> str:
    """Several masks of one image as the one text that a manifest has of them."""
    return _BETWEEN.join(masks)


def mask_paths(joined: str) -> list[str]:
    """The masks, or their digests, of an image; [] for ""."""
    return joined.split(_BETWEEN) if joined else []
