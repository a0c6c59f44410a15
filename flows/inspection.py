"""Inspection of what a line drops into a folder, by the normalities that hold now."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.checkout import DVC_LOCK, head
from flows.claims import rivals_count, rivals_of
from flows.detector import DetectorItems
from flows.evaluate import NORMALITIES
from flows.examples import Reference
from flows.features import TEXT_FEATURES, class_heads, text_vectors
from flows.inbox.current import FIRST, check_current, current_thresholds, good_scores
from flows.inbox.drift import Drift, drift, recent
from flows.inbox.folder import Folder, below_checkout
from flows.inbox.judge import Judge
from flows.inbox.recorded import check_recorded
from flows.inbox.rounds import Rounds
from flows.parameters import DetectorName, Seconds, at_its_time
from flows.run import ARTIFACTS, MANIFEST, RESULTS, Run, hold_store
from flows.scope import texts
from flows.suppression import question
from nand_core.artifacts.disk import refusals
from nand_core.asked import Asked, Held, competing
from nand_core.errors import NandError
from nand_core.examples import Shown
from nand_core.normalities import Normality, current, known_groups
from nand_core.report.tables import markdown_table
from tasks.encoder import shared_encoder
from tasks.examples import read_good, read_shown

OPERATING = RESULTS / "operating.parquet"
SCORES = RESULTS / "scores.parquet"
MOST = 32


@flow(name="inspect", flow_run_name=at_its_time)
def inspection(
    folder: str = "inspection", detector: DetectorName = "", params: str = "params.yaml", settle: Seconds = 5.0
) -> dict[str, int]:
    """Give every image of ``<folder>/inbox/<class>/`` a row and an overlay, until none is left that is complete.

    Args:
        folder: below the checkout.
        detector: by default the first of the settings.
        settle: seconds without a write after which a file counts as complete.

    Returns:
        Counts: ``rows``, ``again`` (images that had a row), ``quarantined`` and ``left``.
    """
    place, logger = Folder(below_checkout(folder)), get_run_logger()
    if not 0 <= settle < float("inf"):
        raise NandError(f"settle: {settle} is no time to wait; give seconds, 0 or more")
    require_results()
    run = Run.start("inspect", Path(params))
    run.hold.close()  # only what is read from the store now and then needs it
    judges = Judges(run, detector or next(iter(run.params.detectors)))
    counts = dict.fromkeys(("rows", "again", "quarantined", "left"), 0)
    judged: dict[str, None] = {}
    with refusals(place.root), place.alone() as alone:
        if not alone:
            logger.info("inspect: another inspection is at work in %s, it takes what is there", place.root)
            return counts
        classes = tuple(judges.thresholds)
        place.prepare(classes)
        for line in place.strangers(classes):
            logger.error("inspect: %s", line)
        most, quality = min(MOST, run.params.run.shard), run.params.report.quality
        for batch in Rounds(place, classes, judges.of, settle, most, quality, commit=head(), bits=run.bits):
            for one in batch.refused:
                logger.warning("inspect: %s: quarantined, %s", batch.class_name, one.reason)
            waiting = place.waiting(batch.class_name)
            logger.info(
                "inspect: %s: %d rows, %d alarms, %d waiting", batch.class_name, batch.rows, batch.alarms, waiting
            )
            judged |= dict.fromkeys([batch.class_name] if batch.rows else [])
            counts["rows"] += batch.rows
            counts["again"] += batch.again
            counts["quarantined"] += len(batch.refused)
        counts["left"] = sum(map(place.waiting, classes))
        _tell_drift({name: _drift(place, judges, name) for name in judged})
    logger.info("inspect: %s", ", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts


def require_results() -> None:
    """Refuse to judge before there are results."""
    for path in (MANIFEST, TEXT_FEATURES, NORMALITIES, OPERATING, SCORES):
        if not path.is_file():
            raise NandError(f"{path}: not there yet; {FIRST}")


def _drift(place: Folder, judges: Judges, class_name: str) -> Drift:
    judge, evaluation = judges.of(class_name), judges.run.params.evaluation.for_(judges.name, class_name)
    normalities = [one.text for one in judge.normalities]
    try:
        scores = recent(place.root / "rows" / class_name, judge.name, judge.threshold_after, normalities)
    except NandError as error:  # of old rows; the images have theirs
        return Drift("", (str(error),))
    chosen = evaluation.false_alarm if evaluation.fixed is None else None
    return drift(scores, judges.good[class_name], judge.threshold_after, chosen)


def _tell_drift(found: Mapping[str, Drift]) -> None:
    """In the log; and what is other than it was on Prefect's page, where the next run's log does not hide it."""
    logger = get_run_logger()
    for name, one in found.items():
        if not one.warnings:
            logger.info("inspect: %s: %s", name, one.counted)
        for line in one.warnings:
            logger.warning("inspect: %s: %s", name, line)
    if rows := [[name, line] for name, one in found.items() for line in one.warnings]:
        create_markdown_artifact(
            markdown_table(["class", "what changed"], rows, text_columns=2),
            key="inspect-drift",
            description="Images of the line that are other than the threshold was set for",
        )


class Judges:
    """The judges of all classes as the settings and the results have them when this is made.

    Raises
    ------
    NandError
        When the results are missing or not those of the settings, or the detector cannot judge new images.
    """

    def __init__(self, run: Run, detector: str) -> None:
        self.run, self.name = run, detector
        self.groups = known_groups(run.manifest)
        self.vectors = text_vectors()
        self.held: dict[str, list[Normality]] = {}
        for normality in current(run.params.prompts, self.groups):
            self.held.setdefault(normality.class_name, []).append(normality)
        effect, operating = _table(NORMALITIES), _table(OPERATING)
        check_current(
            texts(run, None),
            self.held,
            self.vectors,
            effect,
            ARTIFACTS,
            run.params.prompts,
            run.params.detectors,
        )
        self.items = DetectorItems.of(run, detector)
        check_recorded(run.params, detector, DVC_LOCK)
        if self.items.settings.kind == "external":
            raise NandError(f"detector: {detector!r} has saved maps alone; name one that can judge new images")
        # Without a labelled group or a normality no threshold was ever set; a fixed one needs none.
        evaluation = run.params.evaluation
        judged = [
            name
            for name, groups in self.groups.items()
            if groups or name in self.held or evaluation.for_(detector, name).fixed is not None
        ]
        self.thresholds = {name: current_thresholds(effect, operating, detector, name, evaluation) for name in judged}
        scores = _table(
            SCORES,
            columns=["detector", "class", "id", "type", "score_before"],
            filters=[("detector", "==", detector), ("type", "==", "good")],
        ).drop_duplicates(["class", "id"])  # an image is in it for each group; its score before is the same
        self.good = {name: good_scores(effect, scores, detector, name) for name in judged}
        self.of = cache(self._judge)

    def _judge(self, class_name: str) -> Judge:
        run, params = self.run, self.run.params
        held, reference, good = self.held.get(class_name, []), Reference(run), None
        encoder = reference.key
        with hold_store(run.work.store):
            detector = self.items.fitted(class_name)
            heads = class_heads(run).get(class_name)
            if heads is not None:
                shared_encoder(run.work, encoder, heads=heads)  # read while nothing can be pruned
            rivals = self._rivals(held)
            normalities = tuple(
                Held(one.text, self._asked(one), self._shown(one, reference), found, one.strength)
                for one, found in zip(held, rivals, strict=True)
            )
            if any(one.shown for one in normalities):
                good = read_good(reference.good(class_name), run.work)
        before, after, level = self.thresholds[class_name]
        rule, vlm = params.evaluation.rule(level), partial(shared_encoder, run.work, encoder, heads=heads)
        how, examples = params.suppression, params.suppression.examples
        tiles = params.encoder.tiles
        return Judge(self.name, detector, vlm, normalities, how, rule, before, after, good, examples, tiles)

    def _asked(self, one: Normality) -> Asked | None:
        if not one.asked:
            return None
        where, apart = (one.class_name, one.name), one if one.apart else None
        return question(self.vectors, self.groups, self.run.params.suppression, where, apart)

    def _rivals(self, held: list[Normality]) -> list[tuple[Asked, ...]]:
        """The questions about the groups that compete with each, where regions are judged."""
        params, found = self.run.params, []
        for one in held:
            names: tuple[str, ...] = ()
            if rivals_count(params) and one.asked:
                f_add = self.vectors[one.class_name, one.name, "add"]
                names = rivals_of(one, held, f_add, self.vectors, params.suppression)
            known = {group: self.vectors[one.class_name, group, "known"] for group in self.groups[one.class_name]}
            f_nor = self.vectors.get((one.class_name, "", "nor"), ())
            found.append(tuple(competing(f_nor, known, names, params.suppression).values()))
        return found

    def _shown(self, one: Normality, reference: Reference) -> Shown | None:
        if not one.like and not one.unlike:
            return None
        good, kinds = reference.good(one.class_name), reference.kinds(one.class_name)
        return read_shown(*reference.sides(one), good, self.run.params.suppression.examples, self.run.work, kinds)


def _table(path: Path, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, **options)
    except (OSError, ValueError) as error:
        raise NandError(f"{path}: not readable ({error}); {FIRST}") from error
