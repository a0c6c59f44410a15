"""The command ``nand export``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from nand.cli.console import one_line
from nand.cli.place import typed
from nand.project.place import require_project


def export(
    class_name: Annotated[str, typer.Argument(metavar="CLASS")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", parser=typed, metavar="FILE.onnx", help="FILE.json comes beside it.")
    ],
    detector: Annotated[str, typer.Option(metavar="NAME", help="Of params.yaml; by default the first.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write a detector with all that is normal now as one ONNX model, for a line without PyTorch.

    From an image's pixels to its map, score and alarm; it is checked on every test image before it is put in place.
    """
    from rich.filesize import decimal

    with one_line():
        require_project()
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the model computes on a CPU in fp32, and so it is traced
        from nand.export.model import export as write

        found = write(
            class_name, detector, output, force=force, tell=lambda line: print(line, file=sys.stderr, flush=True)
        )
    print(
        f"{output} ({decimal(found.size)}) and {output.with_suffix('.json').name}: on {found.images} test images the "
        f"alarms of the results, maps and scores within {found.difference:.1e}"
    )
