"""Heads for every class: learned from defects drawn on its good training images, and centred on what these show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flows.features import HEADS, class_shards
from flows.run import Run
from nand_core.artifacts.store import Record
from nand_core.prompts.templates import normal_sentences
from nand_core.vlm.settings import AdaptSettings, TileSettings
from tasks.adaptation import (
    CentreSpec,
    CommitteeSpec,
    HeadsSpec,
    PicturesSpec,
    adapted_heads,
    centred_heads,
    drawn_patches,
    learned_heads,
)
from tasks.encoder import encoder_key

_PICTURES, _PHOTOGRAPHS = 50, 8
"""Pictures of an item, and how many photographs they are drawn on at most."""
_SCENES, _PAINTED = 70_000_000, 80_000_000
"""First seeds of drawn scenes and of pictures on photographs: not those of any training that ships."""


def adaptation(params: str = "params.yaml") -> None:
    """Write ``artifacts/heads/<class>.safetensors``; nothing where no class has heads of its own."""
    run = Run.start("adaptation", Path(params))
    settings, names = run.params.encoder, sorted(run.manifest["class"].unique())
    records = _learned(run, names, settings.adapt) if settings.adapt is not None else {}
    if settings.centre:
        records = _centred(run, names, settings.centre, records)
    with run.writing():
        run.work.store.materialise({f"{name}.safetensors": record for name, record in records.items()}, HEADS)
    run.finish()


def _learned(run: Run, names: Sequence[str], settings: AdaptSettings) -> dict[str, Record]:
    """Committees of heads, by class."""
    key, tiles = encoder_key(run.params.encoder), run.params.encoder.tiles
    manifest = run.manifest
    good = manifest[(manifest["split"] == "train") & (manifest["type"] == "good")]
    specs: dict[tuple[str, int], PicturesSpec] = _pictures("", None, settings, key)
    for name in names:
        specs |= _pictures(name, good[good["class"] == name], settings, key, run.bits, tiles)
    patches = run.items(drawn_patches, specs, stage="drawn_patches")
    heads = run.items(
        learned_heads, {one: spec for name in names for one, spec in _heads(name, patches, settings, key)}
    )
    committees = {
        name: CommitteeSpec(members=tuple(record for (owner, _), record in heads.items() if owner == name))
        for name in names
    }
    return run.items(adapted_heads, committees)


def _centred(run: Run, names: Sequence[str], share: float, heads: Mapping[str, Record]) -> dict[str, Record]:
    """What the good training images of each class have in common, beside its heads if it has any."""
    key, shards = encoder_key(run.params.encoder), class_shards(run, "train", encoded=True)
    specs = {
        name: CentreSpec(
            shards=shards.get(name, ()),
            normal=tuple(normal_sentences(name)),
            share=share,
            encoder=key,
            heads=heads.get(name),
        )
        for name in names
    }
    return run.items(centred_heads, specs)


def _heads(
    name: str, patches: Mapping[tuple[str, int], Record], settings: AdaptSettings, key: dict[str, Any]
) -> Iterator[tuple[tuple[str, int], HeadsSpec]]:
    """One learns from the class's photographs and from the scenes, which show more of what a defect can be.

    The other learns from its photographs alone, which it tells apart from defects best.
    """
    painted, scenes = (
        tuple(record for (owner, _), record in patches.items() if owner == whose) for whose in (name, "")
    )
    for number, pictures in enumerate([(*painted, *scenes), painted] if painted else [scenes]):
        yield (
            (name, number),
            HeadsSpec(class_name=name, pictures=pictures, steps=settings.steps, seed=settings.seed, encoder=key),
        )


def _pictures(
    name: str,
    good: pd.DataFrame | None,
    settings: AdaptSettings,
    key: dict[str, Any],
    bits: int | None = None,
    tiles: TileSettings | None = None,
) -> dict[tuple[str, int], PicturesSpec]:
    """The items of one class's pictures, or without ``good`` images those of the scenes, which all classes share.

    An item takes some of the photographs only, in the order of their content: reading them all for each would take
    longer than drawing. A class without good training images has the scenes alone.
    """
    if good is not None and good.empty:
        return {}
    rows = good.sort_values("sha256") if good is not None else pd.DataFrame(columns=["sha256", "path"])
    specs = {}
    for number, first in enumerate(range(0, settings.pictures, _PICTURES)):
        taken = [(number * _PHOTOGRAPHS + k) % len(rows) for k in range(min(_PHOTOGRAPHS, len(rows)))]
        part = rows.iloc[taken]
        specs[name, number] = PicturesSpec(
            images=tuple(part["sha256"]),
            paths=tuple(part["path"]),
            seed=(_PAINTED if len(rows) else _SCENES) + settings.seed,
            first=first,
            count=min(_PICTURES, settings.pictures - first),
            encoder=key,
            bits=bits,
            tiles=tiles,
        )
    return specs
