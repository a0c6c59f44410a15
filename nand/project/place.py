"""Where a project is: the folder with ``dvc.yaml`` and ``params.yaml``."""

from __future__ import annotations

from pathlib import Path

from nand_core.errors import NandError

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")
STATE = Path(".nand")


def require_project() -> None:
    """Refuse to work outside a project, before anything is written.

    Raises
    ------
    NandError
        Naming what is missing, and the project above this folder where there is one.
    """
    missing = [path.name for path in (PIPELINE, PARAMS) if not path.is_file()]
    if missing == [PARAMS.name]:
        raise NandError(f"{PARAMS}: not there; copy one of profiles/*.yaml to it")
    if missing:
        above = (folder for folder in Path.cwd().parents if all((folder / name).is_file() for name in missing))
        found = next(above, None)
        start = "run nand in the folder of one, such as a clone of NAND's repository"
        advice = f"the one above is {found}: run nand there" if found else start
        raise NandError(f"no NAND project in this folder ({' and '.join(missing)} not there); {advice}")
