"""Rendering everything first, then replacing the files one by one."""

from __future__ import annotations

from pathlib import Path

from nand_core.artifacts.disk import replacing
from nand_core.errors import NandError
from nand_core.report.inputs import ReportInputs
from nand_core.report.page import render_page
from nand_core.report.tables import examples_table, markdown_tables, plot_tables
from nand_core.settings import ReportSettings

PAGE = "report/index.html"


def render_report(inputs: ReportInputs, settings: ReportSettings) -> dict[str, str]:
    """Every file of the report, relative path -> text; the same inputs give the same bytes.

    Raises:
        NandError: the AUROC table is empty, or a map or image that the page shows cannot be read.
    """
    if inputs.auroc.empty:
        raise NandError("the AUROC table is empty: there is no group to report; check the data set's groups")
    tables = markdown_tables(inputs.auroc, inputs.evaluation.level, inputs.operating)
    if inputs.examples is not None and len(inputs.examples):
        tables["examples.md"] = examples_table(inputs.examples)
    return {
        PAGE: render_page(inputs, settings),
        **{f"plots/{name}": text for name, text in plot_tables(inputs.auroc).items()},
        **{f"tables/{name}": text for name, text in tables.items()},
    }


def write_report(out: Path, inputs: ReportInputs, settings: ReportSettings) -> Path:
    """Write ``report/``, ``tables/`` and ``plots/`` under ``out``; whatever else lies in them is removed.

    Nothing is written before all is rendered, and a file is replaced whole: a failure leaves the last report.

    Returns:
        The page.
    """
    files = render_report(inputs, settings)
    for name, text in files.items():
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    for folder in {Path(name).parts[0] for name in files}:
        for path in list((out / folder).rglob("*")):
            if path.is_file() and path.relative_to(out).as_posix() not in files:
                path.unlink()
    return out / PAGE
