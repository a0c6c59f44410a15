"""Tell a trained anomaly detector, by a text or by images, what counts as normal from now on - and see what that does.

A project is a folder with params.yaml (its settings) and dvc.yaml (its pipeline): 'nand init' makes one. First:
nand repro.
Then, for example: nand add carpet "loose fibre", or nand add carpet "fuzz ok" --like a.jpg b.jpg.
"""

from __future__ import annotations

import typer

from nand.cli import cache, export, init, log, normality, page, run
from nand.cli.console import one_line
from nand.cli.examples import WithImages
from nand.cli.place import InProject
from nand.project.place import require_project

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)
RUN, NORMAL, CARE = "Run the pipeline", "What is normal", "Look after it"



@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        with one_line():
            require_project()


app.command(rich_help_panel=RUN)(init.init)
app.command(cls=InProject, context_settings=run.FOR_DVC, rich_help_panel=RUN)(run.repro)
app.command(cls=InProject, rich_help_panel=RUN)(run.status)
app.command(cls=InProject, rich_help_panel=RUN)(run.why)
app.command(cls=WithImages, rich_help_panel=NORMAL)(normality.add)
app.command(name="try", cls=WithImages, rich_help_panel=NORMAL)(normality.look)
app.command(cls=InProject, rich_help_panel=NORMAL)(normality.remove)
app.command(cls=InProject, name="list", rich_help_panel=NORMAL)(normality.list_normalities)
app.command(cls=InProject, rich_help_panel=NORMAL)(log.log)
app.command(cls=InProject, rich_help_panel=NORMAL)(log.undo)
app.command(cls=InProject, rich_help_panel=NORMAL)(page.page)
app.add_typer(normality.prompts, name="prompts", rich_help_panel=NORMAL)
app.command(cls=InProject, rich_help_panel=RUN)(export.export)
app.command(cls=InProject, rich_help_panel=CARE)(run.check)
app.command(cls=InProject, rich_help_panel=CARE)(run.weights)
app.add_typer(cache.app, name="cache", rich_help_panel=CARE)
