"""The images that a spec names by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image

from nand_core.artifacts.verified import verified
from nand_core.datasets.images import read_image
from tasks.work import Work


def read_content(work: Work, path: str, sha256: str, bits: int | None) -> Image.Image:
    """The RGB image of this content; NandError for a file that has another by now."""
    return read_image(work.root / path, verified(work.root / path, sha256), bits)


def read_images(work: Work, paths: Sequence[str], sha256: Sequence[str], bits: int | None) -> Iterator[Image.Image]:
    """The RGB images of these contents, one after the other."""
    return (read_content(work, *one, bits) for one in zip(paths, sha256, strict=True))
