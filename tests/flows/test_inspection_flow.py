"""The inspection of a folder as a line uses it: killed twice while images drop in, and then the same scores."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pipeline_project import PARAMS, Project

from benchmarks.scratch import kill_group
from flows.inbox.rows import SCHEMA
from flows.local_server import local_server
from flows.server import wait_for_server

IMAGES = 200
LONG_AGO = 1_000_000_000
FIXED = 110.0
"""Between the scores of the liquids and the scratches."""
SETTLE = "600"
"""Longer than these tests take: complete is what a line dates back to ``LONG_AGO``."""


def inspection(folder: str = "inspection", detector: str = "") -> list[str]:
    return [sys.executable, "-m", "flows", "inspection", folder, detector, "params.yaml", SETTLE]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """Results with two normalities of one class; one detector's threshold of the other class is fixed."""
    made = Project(tmp_path_factory.mktemp("project"), json.loads(json.dumps(PARAMS)))
    made.params["evaluation"]["threshold"] = {"patchcore": {"wood": FIXED}}
    made.params["prompts"]["normalities"] = {"carpet": ["thread", "loose fibre"]}
    made.params["run"] = {"shard": 8}
    made.create()
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        wait_for_server(url)
        made.environment["PREFECT_API_URL"] = url
        said = made.pipeline()
        assert said.returncode == 0, said.stderr[-3000:]
        yield made


def test_images(project: Project) -> dict[str, list[Path]]:
    return {name: sorted((project.folder / f"data/demo/{name}/test").rglob("*.png")) for name in ("carpet", "wood")}


test_images.__test__ = False


@dataclass
class Line:
    """Drops images: every tenth in two halves, every fifteenth cut or a text, for ever.

    ``good`` and ``bad`` say what belongs to each name: the test image that it is, or what is wrong.
    """

    inbox: Path
    sources: dict[str, list[Path]]
    good: dict[tuple[str, str], Path] = field(default_factory=dict)
    bad: dict[tuple[str, str], str] = field(default_factory=dict)

    def drop(self, numbers: range) -> None:
        for number, class_name in zip(numbers, itertools.cycle(sorted(self.sources))):
            source = self.sources[class_name][number // 2 % len(self.sources[class_name])]
            where, data = (class_name, f"shot {number}.png"), source.read_bytes()
            path = self.inbox / class_name / where[1]
            if number % 15 == 0:
                self.bad[where] = "cannot be read" if number % 2 else "is no PNG"
                self._write(path, data[: len(data) // 2] if number % 2 else b"no image")
            else:
                self.good[where] = source
                self._write(path, data, halves=number % 10 == 1)

    @staticmethod
    def _write(path: Path, data: bytes, halves: bool = False) -> None:
        with path.open("wb", buffering=0) as file:
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                file.write(part)
                threading.Event().wait(0.05 if halves else 0.005)
        os.utime(path, (LONG_AGO, LONG_AGO))


def killed(project: Project, after: int) -> str:
    """An inspection that ends by ``kill -9`` when it has said that it wrote so many batches; its words."""
    process = project.start(*inspection())
    said, batches = "", 0
    for line in process.stdout:
        said += line
        batches += " rows, " in line and "waiting" in line
        if batches == after:
            break
    kill_group(process)
    assert batches == after and process.returncode == -9, said
    return said


def ends(project: Project, *arguments: str) -> str:
    said = project.call(*inspection(*arguments))
    assert said.returncode == 0, said.stderr[-3000:]
    return said.stderr


@dataclass(frozen=True)
class Outcome:
    line: Line
    rows: pd.DataFrame
    early: int
    said: str
    before: dict[str, str]
    records: list[Path]


@pytest.fixture(scope="module")
def outcome(project: Project) -> Outcome:
    """What is left after all images were dropped while inspections ran, two of them killed."""
    root, before = project.folder / "inspection", project.digests()
    sources = test_images(project)
    for name in (*sources, "carpett"):
        (root / "inbox" / name).mkdir(parents=True)
    shutil.copy(sources["carpet"][0], root / "inbox/carpett/lost.png")
    line = Line(root / "inbox", sources)
    line.drop(range(IMAGES // 2))
    records = project.records()
    dropping = threading.Thread(target=line.drop, args=(range(IMAGES // 2, IMAGES),))
    dropping.start()
    killed(project, 2)
    killed(project, 3)
    early = len(pd.read_parquet(root / "rows"))
    dropping.join()
    said = ends(project)
    return Outcome(line, pd.read_parquet(root / "rows"), early, said, before, records)


def test_every_readable_image_has_exactly_one_row(project, outcome):
    assert len(outcome.line.good) + len(outcome.line.bad) == IMAGES
    assert sorted(zip(outcome.rows["class"], outcome.rows["name"], strict=True)) == sorted(outcome.line.good)
    assert outcome.rows["id"].is_unique
    assert 5 * 6 <= outcome.early < len(outcome.rows), "the kills came while images were left"
    done = {path.relative_to(project.folder / "inspection/done") for path in done_files(project)}
    assert done == {Path(r["class"]) / f"{r['id']}-{r['name']}" for r in outcome.rows.to_dict("records")}


def done_files(project: Project) -> list[Path]:
    return [path for path in (project.folder / "inspection/done").rglob("*") if path.is_file()]


def test_every_other_is_quarantined_with_its_reason(project, outcome):
    folder = project.folder / "inspection/quarantine"
    found = {(path.parent.name, path.name.partition("-")[2]): path for path in folder.rglob("*.png")}
    assert set(found) == set(outcome.line.bad)
    for where, path in found.items():
        (reason,) = path.with_name(f"{path.name}.reason.txt").read_text().splitlines()
        assert outcome.line.bad[where] in reason and where[1] in reason
    assert len(list(folder.rglob("*.txt"))) == len(found)


def test_nothing_is_left_but_what_has_no_class(project, outcome):
    root = project.folder / "inspection"
    left = [path.relative_to(root).as_posix() for place in ("inbox", "taken") for path in (root / place).rglob("*.*")]
    assert left == ["inbox/carpett/lost.png"]
    assert re.search(r"inbox/carpett: stays as it is, no such class; did you mean 'carpet'\?", outcome.said)
    assert not list(root.rglob(".tmp-*"))


def test_rows_and_overlays_are_whole(project, outcome):
    root = project.folder / "inspection"
    parts = sorted((root / "rows").rglob("*.parquet"))
    assert all(pq.read_schema(path).remove_metadata() == SCHEMA for path in parts)
    assert all((root / path).stat().st_size > 100 for path in outcome.rows["overlay"])
    assert len(list((root / "overlays").rglob("*.webp"))) == len(outcome.rows)
    assert set(outcome.rows["commit"]) == {project.git("rev-parse", "HEAD").strip()}
    texts = outcome.rows.groupby("class")["normalities"].agg(lambda found: {tuple(texts) for texts in found})
    assert texts.to_dict() == {"carpet": {("loose fibre", "thread")}, "wood": {()}}


def test_scores_are_the_pipelines(project, outcome):
    same_scores(project, outcome.rows, "april_gan", outcome.line.good)


def test_a_detector_out_of_the_cache_gives_the_pipelines_scores(project, outcome):
    good = {}
    for class_name, paths in test_images(project).items():
        for path in paths:
            name = f"{path.parent.name}_{path.name}"
            target = project.folder / "inspection/two/inbox" / class_name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            os.utime(target, (LONG_AGO, LONG_AGO))
            good[class_name, name] = path
    said = ends(project, "inspection/two", "patchcore")
    assert "inspect: 1 of 1 items (1 from the cache)" in said and "(0 from the cache)" not in said
    rows = pd.read_parquet(project.folder / "inspection/two/rows")
    same_scores(project, rows, "patchcore", good)
    rows = rows[rows["class"] == "wood"]
    assert set(rows["threshold_before"]) == set(rows["threshold_after"]) == {FIXED}
    assert rows["alarm_before"].any() and not rows["alarm_before"].all()
    counted = f"inspect: wood: {rows['alarm_after'].sum()} of the last {len(rows)} images"
    assert re.search(rf"{counted} raises? an alarm .* good test images gave ", said)
    assert re.search(r"inspect: carpet: \d+ of the last \d+ images raises? .* good ones were to give 20 %", said)


def same_scores(project: Project, rows: pd.DataFrame, detector: str, sources: dict[tuple[str, str], Path]) -> None:
    """The rows hold what the results say of the test images that they are."""
    results = {name: pd.read_parquet(project.folder / f"results/{name}.parquet") for name in RESULTS}
    effect, scores, operating = (table[table["detector"] == detector] for table in results.values())
    effect, scores = effect.set_index("id"), scores.drop_duplicates("id").set_index("id")
    assert set(rows["class"]) == {"carpet", "wood"} and set(rows["detector"]) == {detector}
    for row in rows.to_dict("records"):
        image = sources[row["class"], row["name"]].relative_to(project.folder / "data/demo").as_posix()
        assert row["score_before"] == pytest.approx(scores.loc[image, "score_before"], rel=1e-5)
        if row["class"] == "carpet":
            expected = effect.loc[image]
            assert row["score_after"] == pytest.approx(expected["score_after"], rel=1e-5)
            if expected["type"] != "good":
                columns = ["threshold_before", "threshold_after", "alarm_before", "alarm_after"]
                assert [row[name] for name in columns] == expected[columns].tolist()
        else:
            (limit,) = set(operating.loc[operating["class"] == "wood", "threshold_before"])
            assert row["score_after"] == row["score_before"]
            assert row["threshold_after"] == row["threshold_before"] == limit
    assert rows["alarm_before"].any() and not rows["alarm_before"].all()


RESULTS = ("normalities", "scores", "operating")


def test_results_and_store_are_as_they_were(project, outcome):
    assert project.digests() == outcome.before
    assert project.records() == outcome.records


def test_results_of_other_settings_are_one_line_and_touch_nothing(project, outcome):
    held = project.params["prompts"]["normalities"]
    project.params["prompts"]["normalities"] = {"carpet": ["thread"]}
    project.write_params()
    before = sorted(path.name for path in project.folder.iterdir())
    said = project.call(*inspection("fresh"))
    project.params["prompts"]["normalities"] = held
    project.write_params()
    assert said.returncode == 1 and "Traceback" not in said.stderr
    message = "artifacts/text_features.parquet: not that of the settings (carpet/loose_fibre); run 'nand repro' first"
    assert said.stderr.splitlines()[-1] == f"error: {message}"
    assert sorted(path.name for path in project.folder.iterdir()) == before
