"""How a stage says how far it is."""

from __future__ import annotations

import logging
import time

import pytest

from flows import parameters, run
from flows.mistakes import in_one_line
from nand_core.errors import NandError


@pytest.fixture
def lines(monkeypatch, caplog) -> list[str]:
    """The log of a stage; its first line is due at once, and the others as well."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(run, "get_run_logger", lambda: logging.getLogger("stage"))
    monkeypatch.setattr(run, "SOON", 0.01)
    monkeypatch.setattr(run, "OFTEN", 0.01)
    return caplog.messages


def test_an_item_that_takes_long_is_waited_for_with_a_line(lines):
    progress = run._Progress("adaptation", 2)
    while "adaptation: 0 of 2 items" not in lines:
        time.sleep(0.01)
    progress.step(cached=False)
    while not any(line.startswith("adaptation: 1 of 2 items, about ") for line in lines):
        time.sleep(0.01)
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
        (KeyError("x"), ""),
        (None, ""),
    ],
)
def test_which_errors_are_one_line(error, line):
    assert in_one_line(error).startswith(line) and bool(in_one_line(error)) == bool(line)


def test_prefects_form_lists_what_the_checkout_knows(tmp_path, monkeypatch):
    from prefect.utilities.callables import parameter_schema_from_entrypoint as schema

    root = run.Path.cwd()
    listed = lambda flow, name: schema(str(root / flow)).properties[name].get("enum")  # noqa: E731
    monkeypatch.chdir(tmp_path)
    assert parameters.known_classes() == [] and parameters.known_detectors() == []
    settings = "dataset: {kind: demo, root: x, classes: [wood, carpet]}\ndetectors: {april_gan: {kind: april_gan}}\n"
    (tmp_path / "params.yaml").write_text(settings)
    assert listed("flows/add_normality.py:add_normality", "class_name") == ["carpet", "wood"]
    assert listed("flows/inspection.py:inspection", "detector") == ["", "april_gan"]
    run.ARTIFACTS.mkdir()
    run.pd.DataFrame({"class": ["nut", "bolt", "nut"]}).to_parquet(run.MANIFEST)
    assert listed("flows/add_normality.py:add_normality", "class_name") == ["bolt", "nut"]
