"""Suppression maps of every group, of everything else that is normal now, and of the control."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prefect import flow

from flows.examples import Reference
from flows.features import class_heads, class_shards, text_vectors
from flows.run import ARTIFACTS, Run
from flows.scope import apart, finish, place
from nand_core.asked import Asked, Vector, ask
from nand_core.normalities import Normality, known_groups
from nand_core.protocol import NONSENSE
from nand_core.settings import SuppressionSettings
from tasks.suppression import SuppressionSpec
from tasks.suppression import suppression as draw_maps
from tasks.work import encoder_key

CONTROL = ARTIFACTS / "control"


def question(
    vectors: Mapping[tuple[str, str, str], Vector],
    groups: Mapping[str, tuple[str, ...]],
    settings: SuppressionSettings,
    where: tuple[str, str],
    one: Normality | None,
) -> Asked:
    """What the encoder is asked under the name ``where``, (class, stem of its files).

    ``one`` is the normality that has files of its own there; None for a labelled group of the protocol.
    """
    name, stem = where
    known = {group: vectors[name, group, "known"] for group in groups[name]}
    text, group = (one.text, one.group) if one else (stem, stem)
    f_add, f_nor = vectors[name, stem, "add"], vectors[name, "", "nor"]
    return ask(text, f_add, f_nor, known, settings, group=group, apart=one is not None)


def nonsense_question(
    vectors: Mapping[tuple[str, str, str], Vector],
    groups: Mapping[str, tuple[str, ...]],
    settings: SuppressionSettings,
    name: str,
) -> Asked:
    """The class's text that means nothing, asked as a text from outside the protocol is."""
    known = {group: vectors[name, group, "known"] for group in groups[name]}
    return ask(NONSENSE, vectors[name, "", "nonsense"], vectors[name, "", "nor"], known, settings)


def suppression_specs(
    run: Run,
    asked: Mapping[tuple[str, str], Asked | None],
    found: Mapping[tuple[str, str], Normality | None],
    reference: Reference,
    class_name: str | None,
) -> dict[tuple[str, str], SuppressionSpec]:
    """The maps of each question ``asked``, by class and stem, and of the examples of the normality ``found`` there."""
    shards = class_shards(run, "test", encoded=bool(asked), class_name=class_name)
    heads = class_heads(run)
    shown = {where: reference.shown(one, shards[where[0]]) for where, one in found.items() if one is not None}
    return {
        (name, stem): SuppressionSpec(
            class_name=name,
            shards=shards[name],
            asked=one,
            shown=shown.get((name, stem)),
            encoder=encoder_key(run.params.encoder),
            heads=heads.get(name),
            settings=run.params.suppression,
        )
        for (name, stem), one in asked.items()
    }


@flow(name="suppression")
def suppression(params: str = "params.yaml", class_name: str | None = None) -> None:
    """Write ``artifacts/suppression/<class>/<group or normality>.npz`` and ``artifacts/control/<class>.npz``.

    With a class named, its normalities alone: the control is the protocol's.
    """
    run = Run.start("suppression", Path(params))
    settings = run.params.suppression
    vectors = text_vectors()
    groups = known_groups(run.manifest)
    found = apart(run, class_name)
    reference = Reference(run)
    asked: dict[tuple[str, str], Asked | None] = {
        where: question(vectors, groups, settings, where, one) if one is None or one.asked else None
        for where, one in found.items()
    }
    if class_name is None:
        asked |= {(name, ""): nonsense_question(vectors, groups, settings, name) for name in groups if groups[name]}
    specs = suppression_specs(run, asked, found, reference, class_name)
    records = run.items(draw_maps, specs)
    place(run, {where: records[where] for where in found}, ARTIFACTS / "suppression", ".npz", class_name)
    if class_name is None:
        control = {f"{name}.npz": records[name, stem] for name, stem in records.keys() - found.keys()}
        with run.writing():
            run.work.store.materialise(control, CONTROL)
    finish(run, class_name)
