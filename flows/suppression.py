"""Suppression maps of every group, of everything else that is normal now, and of the control."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flows.claims import CONTROL, RIVALS, SUPPRESSION
from flows.examples import Reference
from flows.features import class_heads, class_shards, text_vectors
from flows.run import Run
from flows.scope import apart, finish, place
from nand_core.asked import Asked, Vector, ask, competing
from nand_core.normalities import Normality, known_groups
from nand_core.protocol import NONSENSE
from nand_core.settings import SuppressionSettings
from tasks.encoder import encoder_key
from tasks.suppression import ShownSpec, SuppressionSpec
from tasks.suppression import suppression as draw_maps

Where = tuple[str, ...]
"""The class first; then the stem of a file, or what else tells it from the others."""


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
    asked: Mapping[Where, Asked | None],
    found: Mapping[tuple[str, str], Normality | None],
    reference: Reference,
    class_name: str | None,
) -> dict[Where, SuppressionSpec]:
    """The maps of each question ``asked``, and of the examples of the normality ``found`` in its place."""
    shards = class_shards(run, "test", encoded=bool(asked), class_name=class_name)
    heads = class_heads(run)
    shown: dict[Where, ShownSpec | None] = {
        where: reference.shown(one, shards[where[0]]) for where, one in found.items() if one is not None
    }
    return {
        where: SuppressionSpec(
            class_name=where[0],
            shards=shards[where[0]],
            asked=one,
            shown=shown.get(where),
            encoder=encoder_key(run.params.encoder),
            heads=heads.get(where[0]),
            settings=run.params.suppression,
        )
        for where, one in asked.items()
    }


def suppression(params: str = "params.yaml", class_name: str | None = None) -> None:
    """Write ``artifacts/suppression/<class>/<group or normality>.npz`` and ``artifacts/control/<class>.npz``.

    Also ``artifacts/rivals/<class>/<group>.npz``, each group by its name alone, where groups compete. With a class
    named, its normalities alone: the rest is the protocol's.
    """
    run = Run.start("suppression", Path(params))
    settings = run.params.suppression
    vectors = text_vectors()
    groups = known_groups(run.manifest)
    found = apart(run, class_name)
    reference = Reference(run)
    asked: dict[Where, Asked | None] = {
        where: question(vectors, groups, settings, where, one) if one is None or one.asked else None
        for where, one in found.items()
    }
    protocol: dict[Path, dict[str, Where]] = {CONTROL: {}, RIVALS: {}} if class_name is None else {}
    for name in filter(groups.get, groups if protocol else ()):
        control = protocol[CONTROL][f"{name}.npz"] = (name, "control", "")
        asked[control] = nonsense_question(vectors, groups, settings, name)
        known = {group: vectors[name, group, "known"] for group in groups[name] if settings.competing}
        for group, question_of_name in competing(vectors[name, "", "nor"], known, tuple(known), settings).items():
            rival = protocol[RIVALS][f"{name}/{group}.npz"] = (name, "rival", group)
            asked[rival] = question_of_name
    records = run.items(draw_maps, suppression_specs(run, asked, found, reference, class_name))
    place(run, {where: records[where] for where in found}, SUPPRESSION, ".npz", class_name)
    with run.writing():
        for folder, files in protocol.items():
            run.work.store.materialise({path: records[where] for path, where in files.items()}, folder)
    finish(run, class_name)
