"""The curated bank: complete, well-formed, and no group speaks of another group's defect."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
import yaml

from nand_core.prompts.clean import clean, fault
from nand_core.prompts.curated import curated_bank, curated_phrases
from nand_core.prompts.templates import object_name

MVTEC_AD = {
    name: list(groups)
    for name, groups in yaml.safe_load(
        files("nand_core.datasets").joinpath("mvtec_ad_groups.yaml").read_text(encoding="utf-8")
    ).items()
}
DEMO = {
    "carpet": ["thread", "hole", "color", "metal"],
    "wood": ["scratch", "hole", "liquid", "color"],
    "leather": ["cut", "glue", "fold", "poke"],
    "tile": ["crack", "glue_strip", "gray_stroke", "oil"],
    "grid": ["bent", "broken", "thread", "metal"],
}
MAGNETIC_TILE = {"magnetic_tile": ["blowhole", "break", "crack", "fray", "uneven"]}
DATA_SETS = (MVTEC_AD, DEMO, MAGNETIC_TILE)
ALL = [(name, group) for name, groups in curated_bank().items() for group in groups]

# Words that belong to one kind of defect, beside the groups' own names.
KINDS = {
    "bent": "bent crooked kinked warped deformed buckled distorted twisted",
    "broken": "broken chipped shattered snapped fractured interrupted",
    "color": "color colored discolored stain stained dye ink paint",
    "contamination": "contamination contaminated dirt dirty dust debris foreign",
    "crack": "crack cracked fracture fractured fissure hairline",
    "cut": "cut slit sliced slash slashed gash knife severed clipped",
    "fold": "fold folded crease creased wrinkle wrinkled",
    "glue": "glue adhesive sticky",
    "hole": "hole holes perforated opening drilled",
    "imprint": "imprint lettering letters misprinted print embossing text",
    "liquid": "liquid wet water spill spilled puddle",
    "metal": "metal staple",
    "oil": "oil oily greasy",
    "poke": "poke poked puncture punctured pinhole prick pierced needle",
    "scratch": "scratch scratched scratches scraped scrape",
    "squeeze": "squeezed crushed dented flattened dent pressed",
    "stroke": "stroke streak brush smear",
    "thread": "thread fibre string yarn hair",
}
# What a group shows; where Table 1 merges several types, all of them.
SHOWS = {
    "bottle/broken": "broken crack hole",
    "cable/cut_insulation": "cut poke",
    "cable/cable_swap": "color",
    "capsule/crack": "crack poke hole broken",
    "capsule/squeeze": "squeeze bent",
    "carpet/cut": "cut hole",
    "grid/broken": "broken crack",
    "hazelnut/hole": "hole crack",
    "hazelnut/print": "imprint color",
    "leather/poke": "poke",
    "magnetic_tile/blowhole": "hole",
    "magnetic_tile/break": "broken",
    "magnetic_tile/crack": "crack broken",
    "pill/crack": "crack scratch broken",
    "pill/faulty_imprint": "imprint bent",
    "screw/manipulated_front": "broken bent",
    "screw/thread": "thread broken bent squeeze",
    "tile/crack": "crack broken",
    "tile/glue_strip": "glue",
    "tile/gray_stroke": "stroke color",
    "tile/oil": "oil color liquid",
}


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text))


def test_bank_holds_the_demo_magnetic_tiles_and_mvtec_ad_and_nothing_else():
    wanted = {(name, group) for data in DATA_SETS for name, groups in data.items() for group in groups}
    assert sum(map(len, MVTEC_AD.values())) == 56
    assert set(ALL) == wanted


@pytest.mark.parametrize(("name", "group"), ALL)
def test_eight_clean_short_phrases(name, group):
    phrases = curated_phrases(name, group)
    assert len(phrases) == len(set(phrases)) == 8
    for phrase in phrases:
        assert clean(phrase) == phrase
        assert fault(phrase) is None
        assert len(phrase.split()) <= 8
        assert not words(phrase) & {"photo", "image", "picture", "scene", "defect", "anomaly"}


@pytest.mark.parametrize(("name", "group"), ALL)
def test_most_phrases_name_the_object(name, group):
    phrases = curated_phrases(name, group)
    assert sum(object_name(name) in phrase for phrase in phrases) >= 5


@pytest.mark.parametrize(("name", "group"), ALL)
def test_no_phrase_names_another_groups_defect(name, group):
    own = words(object_name(name)) | words(object_name(group)) | shown(name, group)
    for data in DATA_SETS:
        if group not in data.get(name, ()):
            continue
        others = {other for other in data[name] if other != group}
        foreign = set().union(*(words(object_name(o)) | shown(name, o) for o in others)) - own
        for phrase in curated_phrases(name, group):
            assert not words(phrase) & foreign, phrase


@pytest.mark.parametrize("data", DATA_SETS)
def test_no_phrase_serves_two_groups_of_a_class(data):
    for name, groups in data.items():
        phrases = [phrase for group in groups for phrase in curated_phrases(name, group)]
        assert len(phrases) == len(set(phrases))


def test_an_unknown_group_has_none():
    assert curated_phrases("carpet", "coffee") is None
    assert curated_phrases("sofa", "cut") is None


def shown(name: str, group: str) -> set[str]:
    kinds = SHOWS.get(f"{name}/{group}") or " ".join(k for k in KINDS if k in words(object_name(group)))
    return set().union(*(words(KINDS[kind]) for kind in kinds.split()))
