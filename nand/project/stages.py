"""The stages that dvc.yaml declares."""

from __future__ import annotations

from pathlib import Path

from nand_core.errors import NandError
from nand_core.yaml12 import load


def declared_stages() -> list[str]:
    """Every stage of dvc.yaml but the one that always runs, a foreach spelled out by the params."""
    try:
        declared = load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
        detectors = load(Path("params.yaml").read_text(encoding="utf-8"))["detectors"]
    except FileNotFoundError as error:
        raise NandError(f"{error.filename}: not found; run nand in the project's folder") from error
    return [
        name
        for stage, body in declared.items()
        if not body.get("always_changed")
        for name in ([f"{stage}@{key}" for key in detectors] if "foreach" in body else [stage])
    ]
