"""What is known of MVTec AD: the paper's anomaly groups and the image counts of the official release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib.resources import files

import yaml

from nand_core.datasets.files import listed
from nand_core.datasets.layout import GOOD, Row
from nand_core.errors import NandError, nearest

LEFT_OUT = "toothbrush"  # has one anomaly type: nothing abnormal is left once it is normal
COMBINED = "combined"  # several types in one image: neither normal nor abnormal for one group

# class: images in train/good, in test/good, in test/<type> (3629 to fit on and 1725 to test on)
OFFICIAL: dict[str, tuple[int, int, dict[str, int]]] = {
    "bottle": (209, 20, {"broken_large": 20, "broken_small": 22, "contamination": 21}),
    "cable": (
        224,
        58,
        {
            "bent_wire": 13,
            "cable_swap": 12,
            "combined": 11,
            "cut_inner_insulation": 14,
            "cut_outer_insulation": 10,
            "missing_cable": 12,
            "missing_wire": 10,
            "poke_insulation": 10,
        },
    ),
    "capsule": (219, 23, {"crack": 23, "faulty_imprint": 22, "poke": 21, "scratch": 23, "squeeze": 20}),
    "carpet": (280, 28, {"color": 19, "cut": 17, "hole": 17, "metal_contamination": 17, "thread": 19}),
    "grid": (264, 21, {"bent": 12, "broken": 12, "glue": 11, "metal_contamination": 11, "thread": 11}),
    "hazelnut": (391, 40, {"crack": 18, "cut": 17, "hole": 18, "print": 17}),
    "leather": (245, 32, {"color": 19, "cut": 19, "fold": 17, "glue": 19, "poke": 18}),
    "metal_nut": (220, 22, {"bent": 25, "color": 22, "flip": 23, "scratch": 23}),
    "pill": (
        267,
        26,
        {
            "color": 25,
            "combined": 17,
            "contamination": 21,
            "crack": 26,
            "faulty_imprint": 19,
            "pill_type": 9,
            "scratch": 24,
        },
    ),
    "screw": (
        320,
        41,
        {
            "manipulated_front": 24,
            "scratch_head": 24,
            "scratch_neck": 25,
            "thread_side": 23,
            "thread_top": 23,
        },
    ),
    "tile": (230, 33, {"crack": 17, "glue_strip": 18, "gray_stroke": 16, "oil": 18, "rough": 15}),
    "toothbrush": (60, 12, {"defective": 30}),
    "transistor": (213, 60, {"bent_lead": 10, "cut_lead": 10, "damaged_case": 10, "misplaced": 10}),
    "wood": (247, 19, {"color": 8, "combined": 11, "hole": 10, "liquid": 10, "scratch": 21}),
    "zipper": (
        240,
        32,
        {
            "broken_teeth": 19,
            "combined": 16,
            "fabric_border": 17,
            "fabric_interior": 16,
            "rough": 17,
            "split_teeth": 18,
            "squeezed_teeth": 16,
        },
    ),
}

CLASSES = tuple(name for name in OFFICIAL if name != LEFT_OUT)


def paper_groups() -> dict[str, dict[str, list[str]]]:
    """class -> group -> anomaly types: Table 1 of the paper, 14 classes and 56 groups."""
    text = (files("nand_core.datasets") / "mvtec_ad_groups.yaml").read_text(encoding="utf-8")
    groups: dict[str, dict[str, list[str]]] = yaml.safe_load(text)
    return groups


def check_official(rows: Iterable[Row], classes: Iterable[str], ignored: Iterable[str]) -> None:
    """Raises NandError if ``classes`` are not MVTec AD's or have other image counts than were released."""
    for name in classes:
        if name not in OFFICIAL:
            hint = nearest(name, OFFICIAL)
            raise NandError(f"class {name!r} is not of MVTec AD{hint}; use dataset.kind 'folder'")
    found = Counter((row.class_name, row.split, row.type) for row in rows)
    expected: Counter[tuple[str, str, str]] = Counter()
    for name in classes:
        train, good, types = OFFICIAL[name]
        expected.update({(name, "train", GOOD): train, (name, "test", GOOD): good})
        expected.update({(name, "test", t): n for t, n in types.items() if t not in ignored})
    wrong = [key for key in sorted(expected | found) if expected[key] != found[key]]
    if wrong:
        counts = [f"{'/'.join(key)} has {found[key]} of {expected[key]} images" for key in wrong]
        raise NandError(
            f"this is not the complete MVTec AD: {listed(counts)}; copy it again, name "
            "the classes you have in dataset.classes, or set dataset.check_counts to false"
        )
