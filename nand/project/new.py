"""A project in a folder of its own: the pipeline, the settings, and what git and DVC need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from nand.project import params_file
from nand.project.place import PARAMS, PIPELINE
from nand_core.artifacts.disk import refusals
from nand_core.config import load_params
from nand_core.errors import NandError, nearest

PLACES = {
    "pipeline.yaml": PIPELINE.name,
    "prefect.toml": "prefect.toml",
    "gitignore": ".gitignore",
    "gitattributes": ".gitattributes",
    "dvcignore": ".dvcignore",
}
"""The template's files, which are those of the clone's root, and their names in a project."""
DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n[cache]\n    type = \"reflink,copy\"\n"
README = """# {name}

What counts as normal on an inspection line: the settings are `params.yaml`, the pipeline is `dvc.yaml`.
`nand check` looks for all that a run would refuse, `nand repro` runs what changed.
`nand add CLASS "what is fine from now on"`, `nand try`, or `nand page` in a browser; then `results/report/index.html`.
Commit `params.yaml`, `dvc.lock` and `normalities.jsonl`; `dvc push` shares the results, `dvc pull` gets them.
"""


def profiles() -> list[str]:
    """The names of the settings that a project can start from."""
    return sorted(path.name.removesuffix(".yaml") for path in _template("profiles").iterdir())


def create(folder: Path, profile: str, images: Path | None) -> None:
    """Make a project; what is in the folder already stays.

    Args:
        folder: is made where it is missing.
        profile: one of :func:`profiles`.
        images: the data set's root; None: the profile's.

    Raises
    ------
    NandError
        For an unknown profile, images that are not there or that the profile draws itself, a file that is in the way,
        and when git or DVC refuses; then nothing was made.
    """
    if profile not in profiles():
        raise NandError(f"unknown profile {profile!r}{nearest(profile, profiles())}")
    if images is not None and not images.is_dir():
        raise NandError(f"{images}: no such folder of images")
    if images is not None and profile == "demo":
        raise NandError(f"profile demo draws its own images; leave --images out, or take --profile folder for {images}")
    taken = [name for name in (*PLACES.values(), PARAMS.name, "README.md", ".dvc") if (folder / name).exists()]
    if taken:
        raise NandError(f"{folder / taken[0]}: is there already; name a folder without a project")
    with _whole(folder), refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _start_dvc(folder)
        for name, place in PLACES.items():
            shutil.copyfile(_template(name), folder / place)
        (folder / ".dvc/config").write_text(DVC_CONFIG, encoding="utf-8")
        (folder / "README.md").write_text(README.format(name=folder.resolve().name), encoding="utf-8")
        settings = _template(f"profiles/{profile}.yaml").read_text(encoding="utf-8")
        if images is not None:
            settings = params_file.put(settings, ("dataset", "root"), _seen_from(images, folder))
        params_file.write(folder / PARAMS, settings)
        load_params(folder / PARAMS)


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """All that is made in the folder, or nothing."""
    before = set(folder.iterdir()) if folder.exists() else None
    try:
        yield
    except BaseException:
        for path in set(folder.iterdir()) - (before or set()) if folder.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if before is None and folder.exists():
            folder.rmdir()
        raise


def _template(name: str) -> Path:
    return Path(str(files("nand"))) / "template" / name


def _seen_from(images: Path, folder: Path) -> str:
    """A path that holds on: from the project where it is below it, else from the root."""
    images, folder = images.resolve(), folder.resolve()
    return images.relative_to(folder).as_posix() if images.is_relative_to(folder) else str(images)


def _start_dvc(folder: Path) -> None:
    """Git and DVC in the folder; DVC alone where git is not installed, below an own repository a part of that."""
    above = _run(["git", "rev-parse", "--show-prefix"], folder)
    if above is None or above.returncode:
        within = above is not None and _run(["git", "init", "--quiet"], folder) is not None
        mode = [] if within else ["--no-scm"]
    else:
        mode = ["--subdir"] if above.stdout.strip() else []
    said = _run([sys.executable, "-m", "dvc", "init", "--quiet", *mode], folder)
    if said is None or said.returncode:
        raise NandError(f"dvc init failed: {' '.join((said.stderr if said else 'not installed').split()[-40:])}")


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str] | None:
    """None where the program is not there."""
    try:
        return subprocess.run(command, cwd=folder, env={**os.environ, "DVC_NO_ANALYTICS": "1"},
                              capture_output=True, text=True, check=False)  # fmt: skip
    except FileNotFoundError:
        return None
