"""The commands that run the pipeline or look at its settings: ``repro``, ``status``, ``check``, ``weights``."""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.record import FILE, IMAGE_FEATURES, read_run
from nand.cli.console import console, one_line, table_of
from nand.cli.place import typed
from nand.project.place import PARAMS, STATE, require_project
from nand_core.errors import NandError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

FOR_DVC = {"allow_extra_args": True, "ignore_unknown_options": True}
METRICS = Path("results/metrics.json")
WIDTH = 110
"""Of the whole table of results; what is piped or logged is that wide."""
WORTH = {"gain": "+.1f", "auroc_bound": ".1f", "share": ".0f", "text_effect": "+.1f"}
LONG = 0.5
"""Seconds of a stage without items that are worth a row."""

ParamsFile = Annotated[Path, typer.Argument(parser=typed, metavar="[PARAMS]", help="A params file.")]


def repro(context: typer.Context) -> None:
    """Run what changed: dvc repro with one local Prefect server for all stages.

    Arguments are handed on to dvc. With PREFECT_API_URL set, that server is used instead.
    """
    from flows.inputs import inputs
    from flows.processes import run_tree
    from flows.record import WRITTEN
    from nand.project.run import complete_record, dvc, running
    from nand.project.stages import declared_stages

    run = uuid.uuid4().hex
    try:
        with one_line(), running(run) as environment:
            print("checking params.yaml and the data set", flush=True)
            _validate(PARAMS)
            stages = declared_stages()
            inputs()
            print("dvc: looking at what changed", flush=True)
            code = run_tree(dvc("repro", *context.args), environment | {WRITTEN: run})
            complete_record(run, stages)
    except (KeyboardInterrupt, SystemExit) as error:
        print("stopped; finished items are kept, 'nand repro' goes on from there", file=sys.stderr)
        raise typer.Exit(130 if isinstance(error, KeyboardInterrupt) else int(error.code or 1)) from error
    if code:
        raise typer.Exit(code)
    if METRICS.is_file():
        with one_line():
            show_results()
    else:
        print("no results yet; 'nand repro' without a stage makes them")


def _validate(params: Path) -> None:
    """Check the settings, the data set's structure unless it is yet to be generated, and maps of another program."""
    from nand.project.structure import structure

    loaded, images = structure(params)
    if images is not None and any(detector.kind == "external" for detector in loaded.detectors.values()):
        from nand.project.check import check_saved_maps

        check_saved_maps(loaded, images)


def show_results() -> None:
    """Print how the groups were judged, the detectors' means and where the report lies."""
    from nand_core.config import load_params
    from nand_core.verdict import PASS

    evaluation = load_params(PARAMS).evaluation
    try:
        metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NandError(f"{METRICS}: not readable ({error}); 'nand repro evaluate --force' makes it anew") from error
    screen = console()
    if not screen.is_terminal:
        screen = console(width=WIDTH)
    screen.print(results(metrics, screen.width))
    alarms, lost = (f"{100 * share:g} %" for share in (evaluation.false_alarm, evaluation.lost_alarms))
    print(
        f"works: at least {PASS:g} % of a group pass; helps: fewer, but more than before; "
        f"harms: over {lost} of the others lost their alarm"
    )
    set_by = f"for {alarms} false alarms" + (", or the one given" if evaluation.threshold else "")
    print(f"accepted: of the group, without an alarm; retained: of the others, with one; threshold {set_by}")
    print("bound: what a perfect normality gives; share: percent gained; text effect: gain over the best wrong text")
    print("report: results/report/index.html    tables: results/tables/")


def results(metrics: Mapping[str, Mapping[str, Any]], width: int) -> Table:
    """The detectors of ``metrics.json``: counts of verdicts, what they were made of, and AUROC.

    In less than ``WIDTH`` columns it ends with the gain, and a line has one verdict instead of two.
    """
    from rich.box import SIMPLE_HEAD

    from nand_core.verdict import in_words

    wide = width >= WIDTH
    a_line = 2 if wide else 1
    table = table_of(
        *("detector", "verdict", "accepted\n%", "retained\n%", "lost\n%", "AUROC"),
        *(("gain", "bound", "share", "text\neffect") if wide else ("gain",)),
        left=2,
        title="Each group added by itself: verdicts, and means before → after",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns[1:]:
        column.no_wrap = True
    for detector, row in metrics.items():
        judged = in_words(row["verdict"]).split(", ")
        table.add_row(
            detector,
            ",\n".join(", ".join(judged[i : i + a_line]) for i in range(0, len(judged), a_line)),
            *(_change(row, name, ".0f") for name in ("accepted", "retained")),
            _shown(row["lost"], ".1f"),
            _change(row, "auroc", ".1f"),
            *(_shown(row[name], form) for name, form in WORTH.items() if wide or name == "gain"),
        )
    return table


def _change(row: Mapping[str, Any], name: str, form: str) -> str:
    return " → ".join(_shown(row[f"{name}_{when}"], form) for when in ("before", "after"))


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def status() -> None:
    """What the last run computed and what it took from the cache."""
    with one_line():
        require_project()
        record = read_run(STATE)
        if not record:
            raise NandError(f"{STATE / FILE}: there was no run yet; start one with 'nand repro'")
    ended = time.strftime("%Y-%m-%d %H:%M", time.localtime((STATE / FILE).stat().st_mtime))
    ran = {stage: row for stage, row in record["stages"].items() if row["items"] or row["seconds"] >= LONG}
    rest = [stage for stage in record["stages"] if stage not in ran and stage != IMAGE_FEATURES]
    if ran:
        table = table_of("stage", "items", "executed", "cached", "seconds", title=f"Last run, {ended}")
        for stage, row in ran.items():
            counts = [str(row[name]) for name in ("items", "executed", "cached")]
            table.add_row(stage, *counts, f"{row['seconds']:.1f}")
        console().print(table)
        if rest:
            print(f"nothing to do: {', '.join(rest)}")
    else:
        print(f"last run, {ended}: nothing to do, all {len(rest)} stages were up to date")


def why(
    stage: Annotated[str | None, typer.Argument(help="Of dvc.yaml, or a detector's name; without: all.")] = None,
) -> None:
    """What changed since a stage's last run: settings, data, code, libraries, weights, saved maps, plugins."""
    with one_line():
        require_project()
        from nand.project.why import reasons

        found = reasons(stage)
    for name, said in found.items():
        for line in said:
            print(f"{name}: {printable(line)}")
    if not found:
        print(f"nothing changed since the last run of {stage or 'every stage'}")


def check(
    params: ParamsFile = PARAMS,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Open no image and load no model.")] = False,
) -> None:
    """Look for all that a run would refuse, and say what there is; nothing is run.

    That is the settings, every image and mask, saved maps, weights and plugins, and words that the model does not know.
    """
    from tqdm import tqdm

    from nand.project.check import look

    with one_line(), tqdm(delay=1, leave=False, disable=None, unit="image", desc="check") as bar:
        _present(params)

        def progress(_: str, done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = look(params, quick=quick, progress=progress)
    for line in found.warnings:
        print(f"warning: {printable(line)}", file=sys.stderr)
    for line in found.faults:
        print(f"error: {line}", file=sys.stderr)
    if found.faults:
        raise typer.Exit(1)
    said = found.counts or "the demo's images are yet to be drawn"
    unknown = f"; unknown words: {', '.join(found.unknown)}" if found.unknown else ""
    print(f"{params}: valid; {said}{unknown}")


def weights(
    params: ParamsFile = PARAMS,
    *,
    download: Annotated[bool, typer.Option("--download", help="Fetch those that are missing and published.")] = False,
) -> None:
    """List the weight files that a params file needs: which are here, where the others belong and come from."""
    from nand.weights import fetch_missing, needed_files
    from nand_core.config import load_params

    with one_line():
        _present(params)
        if sys.stderr.isatty():  # large ones take a while to be read
            print("reading the weight files", file=sys.stderr, flush=True)
        files = needed_files(load_params(params))
        if download:
            fetch_missing(files, lambda line: print(line, file=sys.stderr, flush=True))
            files = needed_files(load_params(params))
    columns = ("needed by", "model", "file", "state", "sha256")
    table = table_of(*columns, left=len(columns), box=None, header_style="bold", padding=(0, 2, 0, 0))
    for needed in files:
        users = ", ".join(section.removeprefix("detectors.").removesuffix(".encoder") for section in needed.sections)
        state = f"{needed.state}, as set" if needed.state == "here" and needed.file.sha256 else needed.state
        table.add_row(users, needed.model, str(needed.file.path or needed.file.wanted), state, needed.sha256)
    # A terminal folds what is too long; elsewhere each file stays one line.
    screen = console()
    (screen if screen.is_terminal else console(width=1000)).print(table)
    for needed in files:
        for line in filter(None, (needed.advice, needed.origin)):
            print(line)
    if not download and any(needed.state != "here" and needed.source for needed in files):
        print("to fetch what is published: nand weights --download")
    if any(needed.state != "here" for needed in files):
        raise typer.Exit(1)


def _present(params: Path) -> None:
    """Without a file named, the project's is meant: where there is none, that is what is wrong."""
    if params == PARAMS and not params.exists():
        require_project()
