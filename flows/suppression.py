"""Suppression maps of every group."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.features import class_shards, text_vectors
from flows.run import ARTIFACTS, Run
from tasks.suppression import SuppressionSpec
from tasks.suppression import suppression as draw_maps
from tasks.work import encoder_key


@flow(name="suppression")
def suppression(params: str = "params.yaml") -> None:
    """Write ``artifacts/suppression/<class>/<group>.npz``."""
    run = Run.start("suppression", Path(params))
    settings = run.params.suppression
    vectors = text_vectors()
    shards = class_shards(run, "test", encoded=True)
    key = encoder_key(run.params.encoder)
    specs = {
        f"{name}/{group}.npz": SuppressionSpec(
            class_name=name,
            group=group,
            shards=shards[name],
            f_add=vector,
            f_nor=vectors[name, "", "nor"],
            others=tuple(
                other
                for (c, g, k), other in sorted(vectors.items())
                if settings.competing and k == "known" and c == name and g != group
            ),
            encoder=key,
            settings=settings,
        )
        for (name, group, kind), vector in vectors.items()
        if kind == "add"
    }
    run.work.store.materialise(run.items(draw_maps, specs), ARTIFACTS / "suppression")
    run.finish()
