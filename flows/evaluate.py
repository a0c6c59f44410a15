"""The tables: the protocol's, the operating points, and what the normalities that hold now do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from flows.claims import MapsClaimed, Tried, held_claims, merged, protocol_claims
from flows.example_protocol import example_rows
from flows.examples import left_out
from flows.run import ARTIFACTS, RESULTS, Run
from flows.scope import finish
from nand_core.artifacts.disk import replacing
from nand_core.artifacts.store import Record, sha256_file
from nand_core.datasets.parts import judged_rows
from nand_core.example_protocol import example_table, with_examples
from nand_core.normalities import Normality, current, known_groups
from nand_core.operating import OPERATING_COLUMNS, decisions, effect_table, summary
from nand_core.protocol import AUROC_COLUMNS, SCORE_COLUMNS, aggregate
from nand_core.settings import Rule
from tasks.evaluate import EvaluateSpec
from tasks.evaluate import evaluate as judge
from tasks.normalities import EffectSpec
from tasks.normalities import normalities as judge_normalities
from tasks.scores import BaseScoreSpec, ScoreSpec, base_scores, level_of
from tasks.scores import scores as score

NORMALITIES = RESULTS / "normalities.parquet"


def evaluate(params: str = "params.yaml", class_name: str | None = None) -> None:
    """Write ``results/``: auroc, scores, operating, examples, normalities ``.parquet``; metrics and summary ``.json``.

    With a class named, only its part of ``normalities.parquet``: a normality has no effect on the protocol.
    """
    run = Run.start("evaluate", Path(params))
    digest = cache(sha256_file)
    rules = decision_rules(run, digest, class_name)
    if class_name is None:
        _protocol(run, rules, digest)
    _normalities(run, rules, digest, class_name)
    finish(run, class_name)


def decision_rules(
    run: Run, digest: Callable[[Path], str], class_name: str | None = None
) -> dict[tuple[str, str], Rule]:
    """What suppression maps do to each detector's maps of each class, or of the one named: each has its good level."""
    specs, good = {}, {}
    for detector, name, rows, base in _judged(run):
        if class_name in (None, name):
            specs[detector, name] = BaseScoreSpec(ids=tuple(rows["path"]), base=digest(base), base_path=base)
            good[detector, name] = (rows["type"] == "good").tolist()
    records = run.items(base_scores, specs, stage="evaluate")
    return {
        where: run.params.evaluation.rule(level_of(record, good[where], run.work)) for where, record in records.items()
    }


def _protocol(run: Run, rules: Mapping[tuple[str, str], Rule], digest: Callable[[Path], str]) -> None:
    claims = protocol_claims(run, digest)
    scored = _scores(run, claims, rules, digest)
    specs = {}
    for detector, name, rows, _ in _judged(run):
        texts = tuple(sorted(claims.get(name, ())))
        for group in (text for text in texts if text):
            specs[detector, name, group] = EvaluateSpec(
                detector=detector,
                group=group,
                rows=judged_rows(rows),
                texts=texts,
                scores=scored[detector, name],
                settings=run.params.evaluation.for_(detector, name),
            )
    records = run.items(judge, specs)
    answers = [json.loads(run.work.store.path(record).read_bytes()) for record in records.values()]
    table = pd.DataFrame([answer["row"] for answer in answers], columns=AUROC_COLUMNS)
    operating = pd.DataFrame([answer["operating"] for answer in answers], columns=OPERATING_COLUMNS)
    scores = pd.concat([pd.DataFrame(answer["scores"], columns=SCORE_COLUMNS) for answer in answers])
    protocol = run.params.evaluation.examples
    examples = example_rows(run, protocol, claims, rules, digest) if protocol else example_table([])
    tables = {"auroc": table, "scores": scores, "operating": operating, "examples": examples}
    decided = decisions(operating)
    figures = {detector: decided[detector] | ordered for detector, ordered in aggregate(table).items()}
    with run.writing():
        for name, frame in tables.items():
            _write(frame, RESULTS / f"{name}.parquet")
        for name, content in (("metrics", with_examples(figures, examples)), ("summary", summary(figures))):
            with replacing(RESULTS / f"{name}.json") as temporary:
                temporary.write_text(json.dumps(content, indent=2) + "\n")


def _scores(
    run: Run,
    claims: Mapping[str, Mapping[str, MapsClaimed]],
    rules: Mapping[tuple[str, str], Rule],
    digest: Callable[[Path], str],
) -> dict[tuple[str, str], Record]:
    """The image scores of every detector and class with groups, by all texts of the class."""
    specs = {}
    for detector, name, rows, base in _judged(run):
        if found := claims.get(name):
            specs[detector, name] = ScoreSpec(
                ids=tuple(rows["path"]),
                base=digest(base),
                claims={text: one.claimed for text, one in found.items()},
                files={digest(base): base} | merged(found.values()),
                rule=rules[detector, name],
            )
    return run.items(score, specs)


def _normalities(
    run: Run, rules: Mapping[tuple[str, str], Rule], digest: Callable[[Path], str], class_name: str | None
) -> None:
    specs = effect_specs(run, rules, digest, class_name)
    records = run.items(judge_normalities, specs) if specs else {}
    parts = [pd.read_parquet(run.work.store.path(record)) for record in records.values()]
    if class_name is not None:
        before = pd.read_parquet(NORMALITIES)
        parts.append(before[before["class"] != class_name])
    with run.writing():
        _write(effect_table(*parts), NORMALITIES)


def effect_specs(
    run: Run,
    rules: Mapping[tuple[str, str], Rule],
    digest: Callable[[Path], str],
    class_name: str | None,
    tried: Mapping[str, Tried] | None = None,
) -> dict[tuple[str, str], EffectSpec]:
    """What all normalities of each class, or of the one named, do to each detector, by class and detector.

    ``tried`` are normalities, by name, that have no files among the artifacts yet.
    """
    held: dict[str, list[Normality]] = {}
    for normality in current(run.params.prompts, known_groups(run.manifest)):
        if class_name in (None, normality.class_name):
            held.setdefault(normality.class_name, []).append(normality)
    claims = {name: held_claims(run, found, digest, tried or {}) for name, found in held.items()}
    specs, examples = {}, left_out(run)
    for detector, name, rows, base in _judged(run):
        if name in held:
            specs[name, detector] = EffectSpec(
                detector=detector,
                rows=judged_rows(rows),
                added=tuple(sorted({normality.group for normality in held[name]} - {""})),
                left_out=tuple(sorted(examples[name])),
                base=digest(base),
                claims=tuple(one.claimed for one in claims[name]),
                files={digest(base): base} | merged(claims[name]),
                rule=rules[detector, name],
                settings=run.params.evaluation.for_(detector, name),
            )
    return specs


def _judged(run: Run) -> Iterator[tuple[str, str, pd.DataFrame, Path]]:
    """Every detector and class, with the class's test rows and the detector's maps of them."""
    tests = run.manifest.query("split == 'test'")
    for detector in run.params.detectors:
        for name, rows in tests.groupby("class", sort=True):
            yield detector, str(name), rows, ARTIFACTS / "base_maps" / detector / f"{name}.npz"


def _write(frame: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)
