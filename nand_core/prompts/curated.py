"""The reviewed phrases that ship with the package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

Bank = Mapping[str, Mapping[str, tuple[str, ...]]]


@cache
def curated_bank() -> Bank:
    """class -> group -> phrases, for the demo, magnetic tiles and all 56 groups of MVTec AD."""
    text = files("nand_core.prompts").joinpath("curated.yaml").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            class_name: MappingProxyType({group: tuple(phrases) for group, phrases in groups.items()})
            for class_name, groups in yaml.safe_load(text).items()
        }
    )


def curated_phrases(class_name: str, group: str) -> tuple[str, ...] | None:
    """The reviewed phrases of a group; None where the bank has none."""
    return curated_bank().get(class_name, {}).get(group)
