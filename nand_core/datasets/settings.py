"""Which images there are, what they are called and which anomaly types form one group."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from nand_core.settings import Seed, Settings


def _relative_glob(pattern: str) -> str:
    path = PurePosixPath(pattern)
    if not pattern.strip() or path.is_absolute() or ".." in path.parts or "\\" in pattern:
        raise ValueError(f"{pattern!r} must be relative to the data root, with forward slashes and no '..'")
    return pattern


def _mask_template(template: str) -> str:
    if "{stem}" not in template:
        raise ValueError(f"{template!r} must contain {{stem}}, the image's name without its extension")
    return template


Glob = Annotated[str, AfterValidator(_relative_glob)]


class DemoSettings(Settings):
    """What to generate: ``image_size`` in pixels a side, and how many pictures for each class."""

    seed: Seed = 0
    image_size: int = Field(128, ge=64, le=1024)
    train_good: int = Field(40, ge=1, le=999)
    test_good: int = Field(20, ge=1, le=999)
    per_type: int = Field(12, ge=1, le=999)


class SeededSplit(Settings):
    """Good images without a split: ``train`` of them, chosen by ``seed``, to fit on; the rest is tested.

    With ``dataset.part`` whole parts are chosen, as many as fit, none of which has a defect in another image.
    """

    images: Glob
    train: int = Field(gt=0, le=10_000_000)
    seed: Seed = 0


class GivenSplit(Settings):
    """Good images in two places."""

    train: Glob
    test: Glob


def _which_split(value: Any) -> str:
    given = value if isinstance(value, dict) else vars(value) if isinstance(value, Settings) else {}
    return "seeded" if "images" in given else "given"


SPLITS = ("seeded", "given")
"""What pydantic calls the two in the places of its errors."""

GoodMapping = Annotated[
    Annotated[SeededSplit, Tag(SPLITS[0])] | Annotated[GivenSplit, Tag(SPLITS[1])], Discriminator(_which_split)
]


class TypeMapping(Settings):
    """The images of one anomaly type; ``mask`` is relative to the image's folder, with ``{stem}`` in it."""

    images: Glob
    mask: Annotated[str, AfterValidator(_mask_template)] | None = None


class ClassMapping(Settings):
    """Where the images of one class lie in a tree of another layout than MVTec AD's; globs from the root."""

    good: GoodMapping
    types: dict[str, TypeMapping]


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} must have one group in brackets, what stands for the part")
    return pattern


class PartSettings(Settings):
    """Which photographs show the same part: they are never on both sides of a split.

    name: a regular expression, searched for in an image's path; its one group stands for the part.
    within: 0: images with the same text belong together; else the group is a number, and those that differ by at most
        this from the next one do.
    """

    name: Annotated[str, AfterValidator(_one_group)]
    within: int = Field(0, ge=0, le=10**9)


class DatasetSettings(Settings):
    """The data set.

    kind: ``demo`` and ``folder`` have MVTec AD's layout (or ``mapping``); ``mvtec_ad`` adds the paper's
        groups and the check of the official counts; ``visa`` is VisA as its authors released it.
    classes: the classes to use; empty for all.
    groups: class -> group -> anomaly types. A class that is not named has one group for each type.
    ignore_types: anomaly types that are left out of the test set.
    part: how an image's path tells which part it shows; null: each shows another.
    check_counts: refuse an MVTec AD that is not the complete official release.
    bits: that the camera has whose values lie in 16-bit files, 8 to 16; null: seen from the values of all images.
    """

    kind: Literal["demo", "folder", "mvtec_ad", "visa"] = "demo"
    root: str
    classes: tuple[str, ...] = ()
    groups: dict[str, dict[str, tuple[str, ...]]] = {}
    ignore_types: tuple[str, ...] = ()
    mapping: dict[str, ClassMapping] | None = None
    part: PartSettings | None = None
    check_counts: bool = True
    bits: int | None = Field(None, ge=8, le=16)
    demo: DemoSettings = DemoSettings()

    @model_validator(mode="after")
    def _mapping_needs_folder(self) -> DatasetSettings:
        if self.mapping is not None and self.kind != "folder":
            raise ValueError(f"dataset.mapping needs dataset.kind 'folder', not {self.kind!r}")
        return self
