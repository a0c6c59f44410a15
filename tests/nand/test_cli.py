"""The command itself: what it says of itself, and what it says outside a project."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nand.cli.app import app
from nand.cli.run import WIDTH, results, show_results

ROOT = Path(__file__).parents[2]
COMMANDS = [
    *("repro", "status", "list", "check", "weights", "cache info", "prompts export"),
    *("add a b", "remove a b", "log", "undo 1", "page", ""),
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


HARMING = {
    "verdict": {"works": 0, "helps": 1, "no_effect": 1, "harms": 18},
    "accepted_before": 7.5, "accepted_after": 84.6, "retained_before": 60.0, "retained_after": 35.0, "lost": 25.0,
    "auroc_before": 70.0, "auroc_after": 90.5, "auroc_bound": None, "gain": 20.5, "share": None, "text_effect": 20.0,
    "groups": 20, "groups_worse": 0,
}  # fmt: skip


def printed(metrics: dict, width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(results(metrics, width))
    return capture.get().splitlines()


def test_verdicts_come_before_the_auroc_that_rose():
    lines = printed({"a_long_detector": HARMING}, WIDTH)
    row = next(line for line in lines if "a_long_detector" in line)
    cells = ["1 helps, 1 no effect,", "8 → 85", "60 → 35", "25.0", "70.0 → 90.5", "+20.5", "–", "–", "+20.0"]
    assert re.split(r"  +", row.strip())[1:] == cells
    assert any(line.strip() == "18 harms" for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_a_narrow_terminal_keeps_the_verdicts_whole():
    lines = printed({"april_gan": HARMING, "winclip_5": HARMING | {"retained_before": 100, "retained_after": 100}}, 80)
    text = "\n".join(lines)
    assert "…" not in text and "bound" not in text and text.count("18 harms") == 2 and text.count("+20.5") == 2


def test_what_a_run_prints_explains_the_verdicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/metrics.json").write_text(json.dumps({"april_gan": HARMING}))
    settings = (ROOT / "params.yaml").read_text().replace("false_alarm: 0.05", "false_alarm: 0.1")
    Path("params.yaml").write_text(settings)
    show_results()
    said = capsys.readouterr().out
    assert "works: at least 80 % of a group pass" in said and "harms: over 1 % of the others" in said
    assert "threshold for 10 % false alarms\n" in said and said.index("1 helps") < said.index("70.0 → 90.5")
