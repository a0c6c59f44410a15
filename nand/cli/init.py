"""``nand init``: a project anywhere."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from nand.cli.console import one_line


def init(
    folder: Annotated[Path, typer.Argument(help="Of the new project; made where it is missing.")],
    *,
    profile: Annotated[
        str | None, typer.Option(help="The settings to start from; folder with --images, else demo.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The data set: CLASS/train/good, CLASS/test/TYPE, ...")
    ] = None,
) -> None:
    """Make a project: settings, pipeline, and what git and DVC need. Its images stay where they are."""
    with one_line():
        from nand.project.new import create

        create(folder, profile or ("folder" if images else "demo"), images)
    print(f"{folder}: a project; its settings are {folder / 'params.yaml'}")
    print(f"next: cd {shlex.quote(str(folder))} && nand check && nand repro")
