"""How a stage says how far it is."""

from __future__ import annotations

import logging
import time

import pytest
from pydantic import TypeAdapter

from flows import __main__ as stages
from flows import demo_data, parameters, run
from flows.mistakes import in_one_line
from flows.record import BESIDE, RUN_ID, WRITTEN
from flows.server import GIVEN, STARTING
from nand_core.errors import NandError


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    """The log of a stage; its first line is due at once, and the others as well."""
    said: list[str] = []
    logger = logging.Logger("stage")
    logger.addFilter(lambda record: said.append(record.getMessage()))
    monkeypatch.setattr(run, "get_run_logger", lambda: logger)
    monkeypatch.setattr(run, "SOON", 0.01)
    monkeypatch.setattr(run, "OFTEN", 0.01)
    return said


def wait_for(line: str, lines: list[str]) -> None:
    end = time.monotonic() + 60
    while not any(one.startswith(line) for one in lines):
        assert time.monotonic() < end, lines
        time.sleep(0.01)


def test_an_item_that_takes_long_is_waited_for_with_a_line(lines):
    progress = run._Progress("adaptation", 2)
    wait_for("adaptation: 0 of 2 items", lines)
    progress._done += 1
    wait_for("adaptation: 1 of 2 items, about ", lines)
    progress.step(cached=True)
    progress.close()
    assert lines[-1] == "adaptation: 2 of 2 items (1 from the cache)"


def test_what_takes_no_time_has_one_line(lines, monkeypatch):
    monkeypatch.setattr(run, "SOON", 60)
    told = run.Told("dataset", "images read")
    for done in range(1, 4):
        told(done, 3)
    assert lines == ["dataset: 3 of 3 images read"]


def test_what_takes_long_has_lines_on_the_way(lines):
    told = run.Told("dataset", "images read")
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
    monkeypatch.setattr(demo_data, "get_run_logger", run.get_run_logger)
    (tmp_path / "params.yaml").write_text(
        "dataset: {kind: folder, root: parts}\ndetectors: {april_gan: {kind: april_gan}}\n"
    )
    demo_data.demo_data.fn("params.yaml")
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
