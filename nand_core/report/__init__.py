"""The report: one self-contained static page, Markdown tables and CSV files for plots."""

from nand_core.report.inputs import ReportInputs
from nand_core.report.write import render_report, write_report

__all__ = ["ReportInputs", "render_report", "write_report"]
