"""The command itself: what it says of itself, and what it says outside a project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nand.cli.app import app
from nand.cli.run import WIDTH, results, show_results
from nand_core.errors import NandError

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


def test_a_command_loads_what_it_uses():
    """What looks at the settings and the names of the data set, as every run does first, loads no table."""
    light = "import nand.cli.app; print({'pydantic', 'rich.table', 'psutil', 'ruamel', 'numpy'} & set(sys.modules))"
    names = "import nand.project.structure, flows.inputs; print({'numpy', 'PIL', 'prefect'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", f"import sys; {light}; {names}"], capture_output=True, check=True)
    assert said.stdout.split() == [b"set()", b"set()"]


@pytest.mark.parametrize("command", COMMANDS)
def test_outside_a_project_one_line_says_so_and_nothing_is_left(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, said = nand(*command.split())
    assert code == 1 and said.count("\n") == 1
    assert said.startswith("error: no NAND project in this folder or above") and "nand init FOLDER" in said
    assert list(tmp_path.iterdir()) == []


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


def recorded(**stages: dict) -> tuple[int, str, str]:
    """What is said of a last run."""
    Path("params.yaml").touch()
    Path("dvc.yaml").touch()
    Path(".nand").mkdir()
    nothing = {"items": 0, "executed": 0, "cached": 0, "seconds": 0.0}
    run = {"run": "a", "stages": {name: nothing | row for name, row in stages.items()}}
    Path(".nand/last_run.json").write_text(json.dumps(run))
    return nand("status")


def test_the_status_after_a_run_that_did_nothing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, _ = recorded(dataset={}, prompts={}, image_features={})
    assert code == 0 and said.count("\n") == 1
    assert said.endswith("nothing to do, all 2 stages were up to date\n")


def test_the_status_shows_what_had_something_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = {"items": 3, "executed": 1, "cached": 2, "seconds": 0.1}
    _, said, _ = recorded(demo_data={"seconds": 9.0}, dataset={}, prompts=ran, examples={"seconds": 0.02})
    assert re.search(r"demo_data .* 9\.0 ", said) and re.search(r"prompts .* 3 .* 1 .* 2 .* 0\.1 ", said)
    assert "nothing to do: dataset, examples\n" in said


def test_a_record_or_results_that_were_cut_are_no_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorded()
    for left in ("{", "[]", '{"run": "a", "stages": 3}', '{"run": "a", "stages": {"x": {"done": 1}}}', "[" * 100_000):
        Path(".nand/last_run.json").write_text(left)
        assert nand("status")[2].startswith("error: .nand/last_run.json: there was no run yet")
    Path("results").mkdir()
    Path("results/metrics.json").write_text("{")
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(NandError, match=r"^results/metrics\.json: not readable"):
        show_results()


def test_setting_up_says_what_it_does_from_the_first_second():
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "--quiet" not in said and "a minute or more" in said
    assert said.index("a minute or more") < said.index("pip install")
