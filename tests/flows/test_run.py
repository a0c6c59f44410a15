"""How a stage says how far it is, and what it is without a flow."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest
from pydantic import TypeAdapter

from flows import __main__ as stages
from flows import demo_data, parameters, progress, run, submitted
from flows.mistakes import in_one_line
from flows.record import BESIDE, RUN_ID, WRITTEN
from flows.server import GIVEN, STARTING
from flows.warm import OWN, is_flow
from nand_core.errors import NandError


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    """The log of a stage; its first line is due at once, and the others as well."""
    said: list[str] = []
    logger = logging.Logger("stage")
    logger.addFilter(lambda record: said.append(record.getMessage()))
    monkeypatch.setattr(submitted, "get_run_logger", lambda: logger)
    for module in (progress, demo_data):
        monkeypatch.setattr(module, "teller", lambda: said.append)
    for module in (progress, submitted):
        monkeypatch.setattr(module, "SOON", 0.01)
        monkeypatch.setattr(module, "OFTEN", 0.01)
    return said


def wait_for(line: str, lines: list[str]) -> None:
    end = time.monotonic() + 60
    while not any(one.startswith(line) for one in lines):
        assert time.monotonic() < end, lines
        time.sleep(0.01)


def test_an_item_that_takes_long_is_waited_for_with_a_line(lines):
    items = submitted.Progress("adaptation", 2)
    wait_for("adaptation: 0 of 2 items", lines)
    items._done += 1
    wait_for("adaptation: 1 of 2 items, about ", lines)
    items.step(cached=True)
    items.close()
    assert lines[-1] == "adaptation: 2 of 2 items (1 from the cache)"


def test_what_takes_no_time_has_one_line(lines, monkeypatch):
    monkeypatch.setattr(progress, "SOON", 60)
    told = progress.Told("dataset", "images read")
    for done in range(1, 4):
        told(done, 3)
    assert lines == ["dataset: 3 of 3 images read"]


def test_what_takes_long_has_lines_on_the_way(lines):
    told = progress.Told("dataset", "images read")
    time.sleep(0.02)
    told(1, 3)
    assert lines == ["dataset: 1 of 3 images read"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (NandError("two\nlines"), "two lines"),
        (FileNotFoundError(2, "No such file", "artifacts/x.npz"), "artifacts/x.npz: not there yet; 'nand repro' runs"),
        (FileNotFoundError("results/x.parquet"), "results/x.parquet: not there yet"),
        (FileNotFoundError(2, "No such file", "elsewhere"), ""),
        (PermissionError(13, "Permission denied", "/srv/a\x1b"), r"/srv/a\x1b: Permission denied; correct its name or"),
        (OSError(36, "File name too long", "aaa"), "aaa: File name too long"),
        (OSError("of the network"), ""),
        (KeyError("x"), ""),
        (None, ""),
    ],
)
def test_which_errors_are_one_line(error, line):
    assert in_one_line(error).startswith(line) and bool(in_one_line(error)) == bool(line)


def test_prefects_form_lists_what_the_checkout_knows(tmp_path, monkeypatch):
    def listed(kind: object) -> list[str] | None:
        return TypeAdapter(kind).json_schema().get("enum")

    monkeypatch.chdir(tmp_path)
    assert listed(parameters.ClassName) is None and listed(parameters.DetectorName) is None
    settings = "dataset: {kind: demo, root: x, classes: [wood, carpet]}\ndetectors: {april_gan: {kind: april_gan}}\n"
    (tmp_path / "params.yaml").write_text(settings)
    assert listed(parameters.ClassName) == ["carpet", "wood"]
    assert listed(parameters.DetectorName) == ["", "april_gan"]
    run.ARTIFACTS.mkdir()
    run.pd.DataFrame({"class": ["nut", "bolt", "nut"]}).to_parquet(run.MANIFEST)
    assert listed(parameters.ClassName) == ["bolt", "nut"]


def test_nothing_is_drawn_for_images_of_ones_own(lines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(
        "dataset: {kind: folder, root: parts}\ndetectors: {april_gan: {kind: april_gan}}\n"
    )
    demo_data.demo_data("params.yaml")
    assert lines == ["demo_data: nothing to draw, the images are those of parts (dataset.kind: folder)"]
    assert list((tmp_path / "data/demo").iterdir()) == []


def test_what_nand_has_just_written_for_this_run_is_not_looked_at_again(monkeypatch):
    monkeypatch.setenv(RUN_ID, "this one")
    assert stages._ran_elsewhere(["inputs"]) is None
    monkeypatch.setenv(WRITTEN, "another")
    assert stages._ran_elsewhere(["inputs"]) is None
    monkeypatch.setenv(WRITTEN, "this one")
    assert stages._ran_elsewhere(["inputs"]) == 0


def test_a_server_that_was_started_for_the_stages_may_take_its_time(monkeypatch):
    monkeypatch.delenv(RUN_ID, raising=False)
    assert stages._patience() == GIVEN, "the user's own is there, or it is not"
    monkeypatch.setenv(BESIDE, "a bare dvc")
    assert stages._patience() == STARTING


def test_what_somebody_waits_for_is_a_flow_where_a_server_shows_it():
    alone = {OWN: "1"}
    assert is_flow("dataset", alone) and is_flow("dataset", {})
    assert is_flow("normality", {}) and not is_flow("normality", alone)
    assert not is_flow("trial", {})


def test_a_trial_imports_no_prefect():
    ask = "import sys, flows.trial, flows.normality; print([one for one in sys.modules if one.startswith('prefect')])"
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert said.stdout == "[]\n", said.stderr


def test_outside_of_a_flow_lines_go_to_standard_output(capsys):
    progress.teller()("as it is")
    assert capsys.readouterr().out == "as it is\n"


def test_a_stage_that_is_called_wrongly_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("dataset: {kind: demo, root: x}\ndetectors: {april_gan: {kind: april_gan}}\n")
    assert stages.main(["trial", "carpet"]) == 1
    assert capsys.readouterr().err == "error: trial: missing a required argument: 'name'\n"
