"""``nand add`` and ``nand remove`` in a repository of their own: what they run, what they change, what they refuse."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pipeline_project import PARAMS, ROOT, Project

from benchmarks.scratch import last_run
from flows.local_server import local_server
from flows.server import wait_for_server
from nand import Normality
from nand_core.artifacts.maps import MapFile
from nand_core.config import load_params
from nand_core.decision import Claim, final_maps, good_level
from nand_core.report.panels import ANOMALY, coloured, levels
from nand_core.report.strips import GAP, strip_name
from nand_core.settings import Rule

NAND = (sys.executable, "-m", "nand")
SMALL = {"train_good: 40": "train_good: 4", "test_good: 20": "test_good: 6", "per_type: 12": "per_type: 3"}
NAMES = ("loose_fibre", "thread")
RIVALS = [f"rivals/carpet/{group}" for group in ("color", "hole", "metal")]
FREE = "artifacts/suppression/carpet/loose_fibre.npz"
DETECTORS = ("april_gan", "patchcore")
PICTURES = "results/report/changes/"


@dataclass(frozen=True)
class Outcome:
    said: subprocess.CompletedProcess
    executed: dict[str, int]
    items: dict[str, int]
    params: str
    files: dict[str, str]
    effect: pd.DataFrame

    @property
    def pictures(self) -> set[str]:
        return {name for name in self.files if name.startswith(PICTURES)}

    @property
    def changed(self) -> pd.DataFrame:
        """The rows of the images that changed sides."""
        return self.effect[self.effect["alarm_before"] != self.effect["alarm_after"]]


def pictures_of(rows: pd.DataFrame) -> set[str]:
    names = zip(rows["class"], rows["detector"], rows["id"], strict=True)
    return {f"{PICTURES}{name}/{detector}/{strip_name(path)}" for name, detector, path in names}


def settings() -> str:
    """The shipped settings with their comments, for two classes and a few images."""
    text = (ROOT / "params.yaml").read_text()
    for old, new in {**SMALL, "  demo:\n": "  classes: [carpet, wood]\n  demo:\n", "gallery: 2": "gallery: 1"}.items():
        assert old in text
        text = text.replace(old, new)
    return text


def nand(project: Project, *arguments: str) -> Outcome:
    said = project.call(*NAND, *arguments)
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    stages = last_run(project.folder)
    return Outcome(
        said,
        {name: row["executed"] for name, row in stages.items() if row["executed"]},
        {name: row["items"] for name, row in stages.items() if row["items"]},
        (project.folder / "params.yaml").read_bytes().decode(),
        project.digests(),
        pd.read_parquet(project.folder / "results/normalities.parquet"),
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"), json.loads(json.dumps(PARAMS)))
    made.create()
    (made.folder / "params.yaml").write_bytes(settings().replace("\n", "\r\n").encode())
    made.environment["NAND_USER"] = "line 3"
    # A pipeline of somebody else's beside it, as the one that trains the embedded model: its state is none of ours.
    (made.folder / "other").mkdir()
    (made.folder / "other/dvc.yaml").write_text("stages: {never: {cmd: 'false', outs: [made]}}\n")
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        wait_for_server(url)
        made.environment["PREFECT_API_URL"] = url
        yield made


@pytest.fixture(scope="module")
def first(project) -> Outcome:
    outcome = nand(project, "repro")
    project.commit("results")
    return outcome


@pytest.fixture(scope="module")
def tried(project, first) -> Outcome:
    return nand(project, "try", "carpet", "Loose fibre")


@pytest.fixture(scope="module")
def refused(project, tried) -> tuple[subprocess.CompletedProcess, dict[str, str], str]:
    """Nobody is there to be asked: the output, and what is there afterwards."""
    said = project.call(*NAND, "add", "carpet", "Loose fibre")
    return said, project.digests(), (project.folder / "params.yaml").read_bytes().decode()


@pytest.fixture(scope="module")
def added(project, refused) -> Outcome:
    return nand(project, "add", "carpet", "Loose fibre", "--yes")


@pytest.fixture(scope="module")
def diff(project, added) -> str:
    return project.git("diff", "--unified=0", "params.yaml")


@pytest.fixture(scope="module")
def whole(project, added) -> dict[str, str]:
    """Everything that the whole pipeline makes of the same settings."""
    said = project.call(sys.executable, "-m", "flows", "pipeline")
    assert said.returncode == 0, said.stderr[-3000:]
    return project.digests()


@pytest.fixture(scope="module")
def both(project, whole) -> Outcome:
    """A labelled group as well."""
    return nand(project, "add", "carpet", "thread", "--yes")


@pytest.fixture(scope="module")
def effect(project, both) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "results/normalities.parquet")


@pytest.fixture(scope="module")
def strips(project, both) -> dict[tuple[str, str], np.ndarray]:
    """The pictures of both together, by detector and image: pixels (h, w, 3)."""
    return {
        (row["detector"], row["id"]): np.asarray(Image.open(project.folder / path).convert("RGB"), dtype=float)
        for row in both.changed.to_dict("records")
        for path in pictures_of(pd.DataFrame([row]))
    }


@pytest.fixture(scope="module")
def listed(project, both) -> str:
    return nand(project, "list").said.stdout


@pytest.fixture(scope="module")
def removed(project, both, effect, strips, listed) -> Outcome:
    return nand(project, "remove", "carpet", "thread")


@pytest.fixture(scope="module")
def phrased(project, removed) -> Outcome:
    """The labelled group with phrases of its own, one word of which the model does not know."""
    return nand(project, "add", "carpet", "thread", "--phrase", "grey zorkly fuzz", "--phrase", "ball of fuzz", "--yes")


@pytest.fixture(scope="module")
def stopped(project, phrased) -> tuple[int, str, str]:
    """``nand add`` that is interrupted as soon as it shows its phrases; status, output, params.yaml afterwards."""
    command = [*NAND, "add", "wood", "water mark"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=project.folder, env=project.environment, **pipes)
    said = [process.stdout.readline()]
    while "'water mark': 8 phrases" not in said[-1]:
        assert said[-1], said
        said.append(process.stdout.readline())
    assert said[:2] == [
        "looking at what the results were made from\n", "wood: computing what 'water mark' changes\n"
    ]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    return process.returncode, "".join(said) + rest, (project.folder / "params.yaml").read_bytes().decode()


def test_a_trial_executes_one_of_each_item_encodes_no_image_and_changes_nothing(project, first, tried):
    assert 1 <= tried.executed["report"] <= 2, "the pictures of each detector by which an image changes sides"
    own = {name: count for name, count in tried.executed.items() if name != "report"}
    assert own == {"prompts": 1, "text_features": 1, "suppression": 1, "evaluate": 2}
    assert tried.items["image_features"] >= 1
    assert tried.files == first.files
    assert tried.params == first.params
    said = tried.said.stdout
    assert "carpet, 'loose fibre': 8 phrases (rules)" in said
    assert "carpet: if 'loose fibre' were normal (nothing is changed):" in said
    assert 'to make it so: nand add carpet "Loose fibre"' in said.replace("'", '"')
    page = (project.folder / ".nand/trial/index.html").read_text()
    assert "loose fibre" in page
    pictures = {path.name for path in (project.folder / ".nand/trial/changes").rglob("*.webp")}
    assert pictures and all(name in page for name in pictures)


def test_alarms_are_not_lost_without_being_asked(first, tried, refused):
    said, files, params = refused
    assert said.returncode == 3, said.stdout + said.stderr
    assert re.search(r"(?m)^(april_gan|patchcore): [1-9] of 12 other anomalies lose their alarm", said.stdout)
    assert "lost alarms: all 3 of thread" in said.stdout
    last, stopped = said.stderr.splitlines()[-2:]
    assert last.startswith("not added: 'loose fibre' would cost other defects their alarm") and "--yes" in last
    assert stopped == "stopped; params.yaml is as it was"
    assert files == first.files
    assert params == first.params


def test_what_was_tried_is_not_computed_again(tried, added):
    assert added.executed == {"report": 1}, "the page; its pictures were drawn for the trial"


def test_only_the_added_lines_differ(diff):
    lines = [line for line in diff.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert lines == ["+    carpet:", "+      - loose fibre"]


def test_nothing_of_the_protocol_changes(first, added):
    new = {name for name in added.files if first.files.get(name) != added.files[name]}
    assert new == pictures_of(added.changed) | {
        "artifacts/prompts/carpet/loose_fibre.json",
        "artifacts/text_features.parquet",
        FREE,
        "results/normalities.parquet",
        "results/report/normalities.html",
    }
    assert set(first.files) < set(added.files)


def test_the_whole_pipeline_gives_the_same_bytes(added, whole):
    assert whole == added.files


def test_the_phrases_and_the_effect_are_shown(added):
    said = added.said.stdout
    assert "carpet, 'loose fibre': 8 phrases (rules)" in said and "\n  carpet with a loose fibre\n" in said
    assert "carpet: 'loose fibre' is normal now" in said
    for detector in ("april_gan", "patchcore"):
        assert re.search(rf"(?m)^{detector}: \d+ of 12 other|^{detector}: (no other|changes)", said)
    assert len(re.findall(r"alarm above [\d.]+ before, above [\d.]+ now", said)) == 2
    assert len(re.findall(r"│ (?:thread|hole|color|metal) +│ +3 │ +\d │ +\d │ +\d │", said)) == 8
    assert len(re.findall(r"│ good +│ +6 │", said)) == 2


def test_two_normalities_suppress_in_turn(project, both, effect):
    drawn = both.changed["detector"].nunique()
    assert both.executed == {"evaluate": 2, "report": 1 + drawn}, "the trial's, which the addition takes from the cache"
    rows = effect[effect["detector"] == "patchcore"].set_index("id")
    maps = [
        MapFile(project.folder / f"artifacts/{name}.npz")
        for name in ("base_maps/patchcore/carpet", *(f"suppression/carpet/{one}" for one in NAMES), *RIVALS)
    ]
    base, *found = [torch.from_numpy(file[:]) for file in maps]
    ids = list(maps[0].ids)
    np.testing.assert_allclose(rows.loc[ids, "score_before"], base.amax((1, 2)))
    level = np.median(rows.loc[rows["type"] == "good", "score_before"])
    fibre, thread, *rivals = found  # of the groups that are not normal; the fibre is none of them either
    claims = [Claim(fibre, tuple(rivals)), Claim(thread, tuple(rivals))]
    left = final_maps(base, claims, Rule(level=level)).numpy()
    np.testing.assert_allclose(rows.loc[ids, "score_after"], left.max((1, 2)), rtol=1e-5)
    assert set(rows.loc[rows["added"], "type"]) == {"thread"}


def test_the_library_says_the_same_of_all_together(project, both, effect):
    params = project.folder / "both.yaml"
    params.write_text(both.params)
    normality = Normality.from_params(params, "carpet")
    params.unlink()
    assert [text.text for text in normality.texts] == ["loose fibre", "thread"]
    base = MapFile(project.folder / "artifacts/base_maps/april_gan/carpet.npz")
    rows = effect[effect["detector"] == "april_gan"].set_index("id").loc[list(base.ids)]
    level = float(np.median(rows.loc[rows["type"] == "good", "score_before"]))
    images = [project.folder / "data/demo" / name for name in base.ids]
    result = normality.apply(images, base[:], level=level)
    np.testing.assert_array_equal(result.scores_before, rows["score_before"])
    np.testing.assert_array_equal(result.scores_after, rows["score_after"])


def test_a_labelled_group_is_that_group(both):
    assert "AUROC with 'thread' alone normal: april_gan" in both.said.stdout
    assert "thread (normal now)" in both.said.stdout
    assert "artifacts/suppression/carpet/thread.npz" in both.files


def test_what_holds_is_listed(listed):
    assert re.search(r"carpet .* loose fibre .* text ", listed)
    assert re.search(r"carpet .* thread .* labelled group", listed)


def test_removing_brings_the_earlier_results_back_without_executing_an_item(added, removed):
    assert removed.executed == {}
    assert removed.files == added.files
    assert removed.params == added.params
    assert "carpet: 'thread' is no longer normal" in removed.said.stdout
    assert len(re.findall(r"(?m)^(?:april_gan|patchcore): as before it was added$", removed.said.stdout)) == 2


def test_dvc_has_nothing_left_to_do(project, removed):
    assert project.changed() == {}


def test_every_image_that_changed_sides_has_its_picture_and_no_other_has(first, added, both, removed):
    assert not first.pictures
    for outcome in (added, both, removed):
        assert set(outcome.changed["class"]) == {"carpet"}
        assert outcome.pictures == pictures_of(outcome.changed)


def test_the_pictures_show_what_the_scores_were_computed_with(project, both, strips):
    evaluation = load_params(project.folder / "params.yaml").evaluation
    files = [MapFile(project.folder / f"artifacts/suppression/carpet/{name}.npz") for name in NAMES]
    for detector in DETECTORS:
        rows = both.effect[both.effect["detector"] == detector].set_index("id")
        rule = evaluation.rule(good_level(rows.loc[rows["type"] == "good", "score_before"]))
        base = MapFile(project.folder / f"artifacts/base_maps/{detector}/carpet.npz")
        rivals = tuple(torch.from_numpy(MapFile(project.folder / f"artifacts/{one}.npz")[:]) for one in RIVALS)
        claims = [Claim(torch.from_numpy(file[:]), rivals) for file in files]
        final = final_maps(torch.from_numpy(base[:]), claims, rule).numpy()
        for i, path in enumerate(base.ids):
            assert final[i].max() == rows.loc[path, "score_after"]
            if (detector, path) in strips:
                strip = strips[detector, path]
                width = (strip.shape[1] - 3 * GAP) // 4
                wanted = coloured(levels(final[i], rows.loc[path, "score_before"], (width, len(strip))), ANOMALY)
                assert np.abs(strip[:, -width:] - wanted).mean() < 6


def test_the_page_shows_the_pictures_that_lie_beside_it(project, removed):
    page = (project.folder / "results/report/normalities.html").read_text()
    shown = re.findall(r'<img src="(changes/[^"]+)" width="(\d+)" height="(\d+)" loading="lazy"', page)
    assert {f"results/report/{source}" for source, *_ in shown} == removed.pictures
    for source, *size in shown:
        with Image.open(project.folder / "results/report" / source) as picture:
            assert list(picture.size) == [int(side) for side in size]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "carpett", "fuzz"), r"unknown class 'carpett'; did you mean 'carpet'\? \(known: carpet, wood\)"),
        (("add", "carpet", "{}"), r"nand add carpet: the phrase '\{\}' has the character '\{'"),
        (("add", "carpet", "fuzz", "--phrase", "..."), r"nand add carpet: the phrase '\.\.\.' is empty"),
        (("remove", "carpet", "tread"), r"carpet: 'tread' is not among its normalities"),
        (("prompts", "export", "wood"), r"no generated phrases there"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_changes_nothing(project, removed, arguments, message):
    before, status = project.digests(), project.git("status", "--porcelain")
    said = project.call(*NAND, *arguments)
    assert said.returncode == 1 and "Traceback" not in said.stderr
    (line,) = said.stderr.splitlines()
    assert line.startswith("error: ") and re.search(message, line)
    assert project.digests() == before and project.git("status", "--porcelain") == status


def test_phrases_of_ones_own_leave_the_groups_maps_alone(project, added, phrased):
    assert "carpet, 'thread': 2 phrases (explicit)" in phrased.said.stdout
    assert "      - thread: [grey zorkly fuzz, ball of fuzz]\r\n" in phrased.params
    changed = {name for name in phrased.files if added.files.get(name) != phrased.files[name]}
    own = [name for name in changed if name.startswith(("artifacts/prompts", "artifacts/suppression"))]
    assert len(own) == 2 and all("/carpet/thread-" in name for name in own)
    assert not {name for name in changed if "auroc" in name or "index" in name or "base_maps" in name}


def test_words_that_the_model_does_not_know_are_named(project, phrased):
    (warning,) = [line for line in phrased.said.stdout.splitlines() if line.startswith("warning: carpet/thread")]
    assert warning.endswith(": the text encoder does not know: zorkly")
    page = (project.folder / "results/report/normalities.html").read_text()
    assert "Words that the text encoder does not know: zorkly" in page


def test_what_is_interrupted_leaves_the_settings(phrased, stopped):
    status, said, params = stopped
    assert status == 130
    assert "stopped; params.yaml is as it was" in said and "Traceback" not in said
    assert params == phrased.params


def test_every_change_is_logged_and_nothing_else(project, effect, phrased, stopped):
    text = (project.folder / "normalities.jsonl").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    said = [(one["id"], one["action"], one["text"], one["group"], one["phrases"]) for one in entries]
    assert said == [
        (1, "add", "loose fibre", "", []),
        (2, "add", "thread", "thread", []),
        (3, "remove", "thread", "thread", []),
        (4, "add", "thread", "thread", ["grey zorkly fuzz", "ball of fuzz"]),
    ]
    assert {one["class"] for one in entries} == {"carpet"} and {one["who"] for one in entries} == {"line 3"}
    assert str(project.folder) not in text and "undoes" not in text
    versions = entries[-1]["versions"]
    assert versions["params"] == hashlib.sha256(phrased.params.encode()).hexdigest()
    assert versions["commit"] == project.git("rev-parse", "HEAD").strip() and not versions["modified"]
    assert versions["weights"].keys() == {"config", "vocabulary", "pretrained", "linear_layers"}
    # The second one's effect is against the first's.
    rows = effect[(effect["detector"] == "patchcore") & (effect["group"] == "thread")]
    alarms = entries[1]["effect"]["patchcore"]["thread"]
    assert alarms == {**alarms, "images": 3, "alarms_after": int(rows["alarm_after"].sum()), "added": True}
    assert alarms["alarms_before"] == entries[0]["effect"]["patchcore"]["thread"]["alarms_after"]
    assert entries[2]["effect"]["patchcore"]["thread"]["alarms_after"] == alarms["alarms_before"]
