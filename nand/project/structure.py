"""The settings and the data set by its names alone: no image is opened, and neither torch nor pandas is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nand_core.config import Params, check_groups, load_params
from nand_core.datasets.scan import scan_images
from nand_core.normalities import Groups, labelled_groups

if TYPE_CHECKING:
    from nand_core.datasets.scan import Image


def structure(path: Path) -> tuple[Params, list[Image] | None]:
    """The settings, and the images of the data set; None while the demo's are yet to be drawn.

    Raises
    ------
    NandError
        For everything wrong with them that can be seen without opening an image or loading a model.
    """
    params = load_params(path)
    found = images(params)
    if found is not None:
        check_groups(params, groups_of(found))
    return params, found


def images(params: Params) -> list[Image] | None:
    """The images of the data set; None while the demo's are yet to be drawn."""
    root = Path(params.dataset.root)
    if params.dataset.kind == "demo" and not root.exists():
        return None
    return scan_images(params.dataset, root)


def groups_of(found: list[Image]) -> Groups:
    """Their classes with the labelled groups."""
    return labelled_groups((image.class_name, image.group) for image in found)
