"""Suppression maps of every group, and of every other text that is normal now."""

from __future__ import annotations

from pathlib import Path

import torch
from prefect import flow

from flows.features import class_shards, text_vectors
from flows.run import ARTIFACTS, Run
from flows.scope import finish, place, texts
from nand_core.normalities import Normality, known_groups
from nand_core.normality import rivals
from tasks.suppression import SuppressionSpec, Vector
from tasks.suppression import suppression as draw_maps
from tasks.work import encoder_key


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

    def competitors(name: str, stem: str, one: Normality | None) -> tuple[Vector, ...]:
        """The other groups of the protocol; for a text from outside it, those that mean something else."""
        own = one.group if one else stem
        others = tuple(vectors[name, group, "known"] for group in groups[name] if group != own)
        if one is None or not others:
            return others
        f_add, f_nor = torch.tensor(vectors[name, stem, "add"]), torch.tensor(vectors[name, "", "nor"])
        return tuple(map(tuple, rivals(f_add, f_nor, torch.tensor(others)).tolist()))

    specs = {
        (name, stem): SuppressionSpec(
            class_name=name,
            group=stem,
            shards=shards[name],
            f_add=vectors[name, stem, "add"],
            f_nor=vectors[name, "", "nor"],
            others=competitors(name, stem, one) if settings.competing else (),
            encoder=key,
            settings=settings,
        )
        for (name, stem), one in found.items()
    }
    place(run, run.items(draw_maps, specs), ARTIFACTS / "suppression", ".npz", class_name)
    finish(run, class_name)
