"""What a draft would change, image by image, before anything is written: the figures that ``nand try`` prints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from flows.examples import Reference
from flows.suppression import suppression_specs
from flows.trial import asked_of
from nand.page.direct import Direct, holding
from nand.page.snapshot import View, decided, files_of
from nand.project.change import Change
from nand.project.examples import EXAMPLES, copy_checked
from nand_core.asked import Asked
from nand_core.effect import changes, comparable, lost, too_many_lost
from nand_core.normalities import Normality
from nand_core.normality import image_score
from nand_core.operating import effect_table
from nand_core.prompts.settings import Added
from tasks.normalities import EffectSpec, judged
from tasks.suppression import drawing

KEPT = 512
"""Images whose maps are kept for the other detectors, 256 KB each; those of more are drawn twice."""


@dataclass(frozen=True)
class Preview:
    """What a draft would do.

    Attributes:
        normality: that it would be.
        phrases: what the text encoder is asked; none where images alone say it.
        source: where the phrases come from.
        effect: the class's rows of ``results/normalities.parquet`` with it.
        rows: ``nand_core.effect.changes`` against what holds now.
        asks: detectors for which ``nand add`` would ask before it goes on.
        tests: how many of its images are test images, which are not counted.
    """

    normality: Normality
    phrases: tuple[str, ...]
    source: str
    effect: pd.DataFrame
    rows: pd.DataFrame
    asks: tuple[str, ...]
    tests: int


@dataclass(frozen=True)
class Progress:
    """So many images of so many are looked at."""

    done: int
    of: int


def preview(
    view: View, change: Change, ask: bool, folder: Path, pool: Executor, first: str
) -> Iterator[Progress | Preview]:
    """Look at a draft's change, a shard of the class's test images at a time.

    A :class:`Preview` of one detector comes first, then one of all.

    Args:
        view: the class.
        change: ``nand.project.plans.addition`` of it.
        ask: that of the draft.
        folder: where copies of its images go.
        pool: runs the shards.
        first: the detector that somebody looks at.

    Raises:
        NandError: an image says nothing, or the results are not there.
    """
    one, run = change.normality, _with(view, change.normality, ask)
    for target, file in change.files.items():
        copy_checked(file, folder / target.relative_to(EXAMPLES))
    with holding(run.work.store):
        made, asked = asked_of(run, one) if one.apart and one.asked else ({}, None)
        specs = view.specs(run, one, asked.f_add if asked else None)
        look = _Look(view, specs, _drawing(run, one, asked, folder))
        others = [detector for detector in look.specs if detector != first]
        for detectors in ([first], others):
            yield from look(detectors, pool)
            effect = look.effect(detectors if detectors == [first] else list(look.specs))
            now = view.now[view.now["detector"].isin(effect["detector"])]
            rows = changes(*comparable(now, effect))
            asks = tuple(too_many_lost(rows, change.limit))
            source = " ".join(str(made[key]) for key in ("provider", "model") if made.get(key))
            yield Preview(one, tuple(made.get("phrases", ())), source, effect, rows, asks, change.tests)


def _drawing(run: Direct, one: Normality, asked: Asked | None, folder: Path) -> Callable[[int], Tensor] | None:
    """What draws a draft's suppression maps; None for a labelled group, whose maps are among the artifacts."""
    if not one.apart:
        return None
    where = one.class_name, one.name
    reference = Reference(run, folder)
    (spec,) = suppression_specs(run, {where: asked}, {where: one}, reference, one.class_name).values()
    return drawing(spec, run.work)


class _Look:
    """Scores before and after by each detector, filled shard by shard; in several threads, one for each shard."""

    def __init__(self, view: View, specs: Mapping[str, EffectSpec], draw: Callable[[int], Tensor] | None) -> None:
        self.view, self.specs, self.draw = view, specs, draw
        self.files = files_of(next(iter(specs.values())), view.ids)
        self.starts: list[int] = np.cumsum([0, *(len(shard.ids) for shard in view.shards)]).tolist()
        self.scores = {detector: np.empty((2, len(view.ids))) for detector in specs}
        self.kept: dict[int, Tensor] = {}
        self.keeps = KEPT if len(specs) > 1 else 0

    def __call__(self, detectors: Sequence[str], pool: Executor) -> Iterator[Progress]:
        """All shards, the largest first; those that nobody waits for any more are not begun."""
        sizes = np.diff(self.starts)
        futures = [pool.submit(self._shard, int(number), detectors) for number in np.argsort(-sizes, kind="stable")]
        done = 0
        try:
            for future in as_completed(futures):
                done += future.result()
                yield Progress(done, len(self.view.ids))
        finally:
            for future in futures:
                future.cancel()

    def effect(self, detectors: Sequence[str]) -> pd.DataFrame:
        """The rows of ``results/normalities.parquet``."""
        return effect_table(*(judged(self.specs[detector], *self.scores[detector]) for detector in detectors))

    def _shard(self, number: int, detectors: Sequence[str]) -> int:
        part = slice(self.starts[number], self.starts[number + 1])
        drawn = self._drawn(number)
        found = {}
        for content, file in self.files.items():
            maps = drawn if file is None else torch.from_numpy(file[part])
            if maps is not None:
                found[content] = maps
        for detector in detectors:
            anomaly, spec = torch.from_numpy(self.view.base[detector][part]), self.specs[detector]
            final = decided(anomaly, [one.of(found) for one in spec.claims], spec.rule)
            self.scores[detector][:, part] = image_score(anomaly), image_score(final)
        return part.stop - part.start

    def _drawn(self, number: int) -> Tensor | None:
        if self.draw is None:
            return None
        found = self.kept.get(number)
        if found is None:
            found = self.draw(number)
            if sum(map(len, self.kept.values())) + len(found) <= self.keeps:
                self.kept[number] = found
        return found


def _with(view: View, one: Normality, ask: bool) -> Direct:
    """The settings with the draft in them."""
    prompts = view.params.prompts
    ask = ask and bool(one.like)
    said = {"text": one.text, "phrases": one.phrases, "like": one.like, "unlike": one.unlike, "strength": one.strength}
    entry = Added(**said, ask=ask)
    entries = {**prompts.normalities, view.name: (*prompts.normalities.get(view.name, ()), entry)}
    prompts = prompts.model_copy(update={"normalities": entries})
    return replace(view.run, params=view.params.model_copy(update={"prompts": prompts}))


def lost_ids(rows: pd.DataFrame) -> dict[str, list[str]]:
    """By detector, the images that would lose their alarm though nobody took it back."""
    gone = rows[lost(rows)]
    return {str(detector): sorted(part["id"]) for detector, part in gone.groupby("detector")}


def agreement(found: Mapping[str, list[str]]) -> str:
    """Stands for the lost alarms that somebody has seen: others are asked about again."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
