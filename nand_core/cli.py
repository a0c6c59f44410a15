"""The command ``nand``."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from nand_core import cache_cli, normality_cli
from nand_core.errors import NandError
from nand_core.invocation import STATE, complete_record, one_line, running
from nand_core.processes import run_tree
from nand_core.stages import declared_stages

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(cache_cli.app, name="cache")
app.add_typer(normality_cli.app)
console = Console()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def repro(context: typer.Context) -> None:
    """Run the pipeline: ``dvc repro`` with one local Prefect server for all stages.

    Arguments are handed on to dvc. With PREFECT_API_URL set, that server is used instead.
    """
    run = uuid.uuid4().hex
    try:
        with one_line(), running(run) as environment:
            _validate(Path("params.yaml"))  # its imports take seconds, while the server starts
            stages = declared_stages()
            print(f"Prefect: {environment['PREFECT_API_URL'].removesuffix('/api')} (while this runs)", flush=True)
            code = run_tree([sys.executable, "-m", "dvc", "repro", *context.args], environment)
            complete_record(run, stages)
    except (KeyboardInterrupt, SystemExit) as error:
        print("stopped; finished items are kept, 'nand repro' goes on from there", file=sys.stderr)
        raise typer.Exit(130 if isinstance(error, KeyboardInterrupt) else error.code) from error
    if code:
        raise typer.Exit(code)
    show_results()


def _validate(params: Path) -> None:
    """Check the settings, and the data set's structure unless it is yet to be generated."""
    from nand_core.config import check_names, load_params
    from nand_core.datasets.manifest import scan

    loaded = load_params(params)
    root = Path(loaded.dataset.root)
    if loaded.dataset.kind != "demo" or root.exists():
        check_names(loaded, scan(loaded.dataset, root))


def show_results() -> None:
    """Print the detectors' means and where the report lies."""
    metrics = json.loads(Path("results/metrics.json").read_text())
    table = Table(title="Mean image AUROC in percent, before and after the addition of a normality")
    for name in ("detector", "before", "after", "gain", "groups", "worse"):
        table.add_column(name, justify="left" if name == "detector" else "right")
    for detector, row in metrics.items():
        table.add_row(
            detector,
            f"{row['auroc_before']:.1f}",
            f"{row['auroc_after']:.1f}",
            f"{row['gain']:+.1f}",
            str(row["groups"]),
            str(row["groups_worse"]),
        )
    console.print(table)
    print("report: results/report/index.html    tables: results/tables/")


@app.command()
def status() -> None:
    """What the last run computed and what it took from the cache."""
    path = STATE / "last_run.json"
    with one_line():
        if not path.exists():
            raise NandError(f"{path}: there was no run yet; start one with 'nand repro'")
    table = Table(title="Last run")
    for name in ("stage", "items", "executed", "cached", "seconds"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, row in json.loads(path.read_text())["stages"].items():
        counts = [str(row[name]) for name in ("items", "executed", "cached")]
        table.add_row(stage, *counts, f"{row['seconds']:.1f}")
    console.print(table)


@app.command()
def check(params: Annotated[Path, typer.Argument()] = Path("params.yaml")) -> None:
    """Validate a params file and the data set's structure without running anything."""
    with one_line():
        _validate(params)
    print(f"{params}: valid")


@app.command()
def weights(params: Annotated[Path, typer.Argument()] = Path("params.yaml")) -> None:
    """List the weight files that a params file needs, those missing with where to put them. Downloads nothing."""
    from nand_core.config import load_params
    from nand_core.weights import needed_files

    with one_line():
        files = needed_files(load_params(params))
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("needed by", "model", "file", "state", "sha256"):
        table.add_column(name)
    for needed in files:
        users = ", ".join(section.removeprefix("detectors.").removesuffix(".encoder") for section in needed.sections)
        state = f"{needed.state}, as set" if needed.state == "here" and needed.file.sha256 else needed.state
        table.add_row(users, needed.model, str(needed.file.path or needed.file.wanted), state, needed.sha256)
    # A terminal folds what is too long; elsewhere each file stays one line.
    (console if console.is_terminal else Console(width=1000)).print(table)
    for needed in files:
        if needed.advice:
            print(needed.advice)
    if any(needed.state != "here" for needed in files):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
