"""Suppression maps of every group, and of every other text that is normal now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from prefect import flow

from flows.features import class_shards, text_vectors
from flows.run import ARTIFACTS, Run
from flows.scope import finish, place, texts
from nand_core.normalities import Normality, known_groups
from nand_core.normality import rivals
from nand_core.settings import SuppressionSettings
from tasks.suppression import SuppressionSpec, Vector
from tasks.suppression import suppression as draw_maps
from tasks.work import encoder_key


def question(
    vectors: Mapping[tuple[str, str, str], Vector],
    groups: Mapping[str, tuple[str, ...]],
    settings: SuppressionSettings,
    where: tuple[str, str],
    one: Normality | None,
) -> dict[str, Any]:
    """``f_add``, ``f_nor`` and ``others`` of the text under the name ``where``, (class, stem of its files).

    With competition the others are the other groups of the protocol; for a text from outside it (``one``), those
    that mean something else.
    """
    (name, stem), own = where, one.group if one else where[1]
    f_add, f_nor = vectors[name, stem, "add"], vectors[name, "", "nor"]
    others = tuple(vectors[name, group, "known"] for group in groups[name] if group != own)
    if not settings.competing:
        others = ()
    elif one and others:
        others = tuple(map(tuple, rivals(*map(torch.tensor, (f_add, f_nor, others))).tolist()))
    return {"f_add": f_add, "f_nor": f_nor, "others": others}


@flow(name="suppression")
def suppression(params: str = "params.yaml", class_name: str | None = None) -> None:
    """Write ``artifacts/suppression/<class>/<group or normality>.npz``; with a class named, its normalities' alone."""
    run = Run.start("suppression", Path(params))
    settings = run.params.suppression
    vectors = text_vectors()
    groups = known_groups(run.manifest)
    found = texts(run, class_name)
    shards = class_shards(run, "test", encoded=bool(found), class_name=class_name)
    key = encoder_key(run.params.encoder)

    specs = {
        (name, stem): SuppressionSpec(
            class_name=name,
            group=stem,
            shards=shards[name],
            **question(vectors, groups, settings, (name, stem), one),
            encoder=key,
            settings=settings,
        )
        for (name, stem), one in found.items()
    }
    place(run, run.items(draw_maps, specs), ARTIFACTS / "suppression", ".npz", class_name)
    finish(run, class_name)
