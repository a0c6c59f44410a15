"""The command itself: what it says of itself, and what it says outside a project."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nand.cli.app import app

COMMANDS = [
    *("repro", "status", "list", "check", "weights", "cache info", "prompts export"),
    *("add a b", "remove a b", "log", "undo 1", ""),
]


def nand(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})
    return done.exit_code, done.stdout, done.stderr


def test_help_says_what_nand_does_and_groups_the_commands():
    code, said, _ = nand("--help")
    assert code == 0
    assert "by a text or by images, what counts as normal from now on" in " ".join(said.split())
    headings = [said.index(title) for title in ("Run the pipeline", "What is normal", "Look after it")]
    assert headings == sorted(headings)
    for heading, command in zip(headings, ("repro", "add", "check"), strict=True):
        assert said.index(f"│ {command} ", heading) > heading


@pytest.mark.parametrize("command", COMMANDS)
def test_outside_a_project_one_line_says_so_and_nothing_is_left(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, said = nand(*command.split())
    assert code == 1 and said.count("\n") == 1
    assert said.startswith("error: no NAND project in this folder") and "run nand in the folder of one" in said
    assert list(tmp_path.iterdir()) == []


def test_below_a_project_its_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "deep/er").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "deep/er")
    assert f"the one above is {tmp_path}: run nand there" in nand("list")[2]


def test_a_project_without_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").touch()
    assert nand("repro")[2] == "error: params.yaml: not there; copy one of profiles/*.yaml to it\n"


@pytest.mark.parametrize("command", ["add", "remove"])
def test_words_without_quotes_get_a_hint(command):
    code, _, said = nand(command, "carpet", "loose", "red", "fibre")
    assert (code, said.count("\n")) == (1, 1)
    assert f"quote it: nand {command} carpet 'loose red fibre'" in said
