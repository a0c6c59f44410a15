"""Where a project is: the folder with ``dvc.yaml`` and ``params.yaml``."""

from __future__ import annotations

from pathlib import Path

from nand_core.errors import NandError

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")
STATE = Path(".nand")


def project_above() -> Path | None:
    """The nearest folder above this one that is a project; None in a project's own folder, and outside."""
    folders = (Path.cwd(), *Path.cwd().parents)
    found = next((folder for folder in folders if all((folder / name).is_file() for name in (PIPELINE, PARAMS))), None)
    return found if found != folders[0] else None


def require_project() -> None:
    """Refuse to work outside a project, before anything is written.

    Raises
    ------
    NandError
        Naming what is missing.
    """
    missing = [path.name for path in (PIPELINE, PARAMS) if not path.is_file()]
    if missing == [PARAMS.name]:
        raise NandError(f"{PARAMS}: not there; copy one of profiles/*.yaml to it")
    if missing:
        here = f"no NAND project in this folder or above ({' and '.join(missing)} not there)"
        raise NandError(f"{here}; go to the folder of one, or make one: nand init FOLDER")
