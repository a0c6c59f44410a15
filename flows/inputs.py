"""What each stage depends on outside the project: code, libraries, weights, saved maps, plugins.

dvc.yaml's stages depend on these files, so that dvc starts those that are touched. No Prefect flow: it runs at every
``dvc repro`` and loads neither torch nor pandas.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from nand_core.artifacts.disk import refusals, replacing
from nand_core.artifacts.known_files import KnownFiles
from nand_core.artifacts.store import sha256_file
from nand_core.config import Params, load_params
from nand_core.detectors.outside import detector_files, plugin_version
from nand_core.detectors.settings import PluginSettings
from nand_core.vlm.outside import encoder_files
from nand_core.vlm.settings import SHIPPED
from tasks.code import Sources, code_of, read_source

ARTIFACTS = Path("artifacts")
FOLDER = ARTIFACTS / "inputs"
KNOWN = Path(".nand/known_files.json")
LOCK = Path("dvc.lock")
STAGES = ("dataset", "adaptation", "examples", "prompts", "text_features", "suppression", "evaluate", "report")
WITHOUT_ENCODER = frozenset({"dataset", "prompts"})
BY_DETECTOR = "base_maps"
DATA = frozenset({".yaml", ".txt", ".csv", ".j2", ".css", ".json"})
"""Suffixes of data that lies beside the code that reads it."""

Inputs = dict[str, dict[str, str]]
"""``code`` and ``files`` by name with their sha256, ``libraries`` with their versions."""


def inputs(params_file: Path = Path("params.yaml")) -> dict[str, Inputs]:
    """Write ``artifacts/inputs/<stage>.json``, and take out what detectors that are no more have left.

    Returns the inputs by stage.

    Raises
    ------
    NandError
        When the settings are not valid, and what the disk refuses.
    """
    params = load_params(params_file)
    with refusals(FOLDER):
        found = _current(params)
        for stage, one in found.items():
            path, text = path_of(stage), json.dumps(one, indent=1, sort_keys=True) + "\n"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                with replacing(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
        _remove(set(FOLDER.rglob("*.json")) - set(map(path_of, found)))
        _remove(path for path in (ARTIFACTS / BY_DETECTOR).glob("*") if path.name not in params.detectors)
        _forget({f"{BY_DETECTOR}@{name}" for name in params.detectors})
    return found


def path_of(stage: str) -> Path:
    """Where a stage's inputs stand: ``base_maps/NAME.json`` for ``base_maps@NAME``."""
    return FOLDER / f"{stage.replace('@', '/')}.json"


def _current(params: Params) -> dict[str, Inputs]:
    """The inputs of every stage as they are now."""
    known = KnownFiles(KNOWN)
    look = _Look(known)
    found = {stage: _stage(params, stage, look) for stage in STAGES}
    for name in params.detectors:
        found[f"{BY_DETECTOR}@{name}"] = _detector(params, name, look)
    known.save()
    return found


class _Look:
    """One look at the files: what several stages use is looked at once."""

    def __init__(self, known: KnownFiles) -> None:
        self.sources = Sources(partial(known.ask, kind="source", read=read_source))
        self.sha256 = cache(partial(known.ask, kind="sha256", read=sha256_file))
        self.data = cache(lambda folder: tuple(_data(folder)))


def _stage(params: Params, stage: str, look: _Look) -> Inputs:
    used = stage not in WITHOUT_ENCODER and (stage != "adaptation" or params.encoder.by_class)
    return _inputs(stage, encoder_files(params.encoder) if used else {}, look)


def _detector(params: Params, name: str, look: _Look) -> Inputs:
    settings = params.detectors[name]
    found = _inputs(BY_DETECTOR, detector_files(settings, params.encoder), look)
    if isinstance(settings, PluginSettings):
        found["libraries"] |= plugin_version(settings.name)
    return found


def _inputs(module: str, files: dict[str, Path], look: _Look) -> Inputs:
    code = code_of(f"flows.{module}", look.sources)
    folders = {source.parent: _folder(name, source) for name, source in code.sources.items()}
    data = {
        f"{name}/{path.relative_to(folder).as_posix()}": look.sha256(path)
        for folder, name in folders.items()
        for path in look.data(folder)
    }
    return {
        "code": code.modules | data,
        "libraries": code.libraries,
        "files": {name: look.sha256(path) for name, path in files.items()},
    }


def _data(folder: Path) -> Iterator[Path]:
    """What lies in a package's folder and those below that are none, without the models that are shipped there."""
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if path.suffix in DATA and entry.is_file():
            yield path
        elif entry.is_dir() and path not in SHIPPED.values() and not (path / "__init__.py").exists():
            yield from _data(path)


def _folder(module: str, source: Path) -> str:
    return (module if source.name == "__init__.py" else module.rpartition(".")[0]).replace(".", "/")


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".gitignore":  # dvc's, of the outs beside it
            path.unlink()


def _forget(stages: set[str]) -> None:
    """Take detectors' stages that are declared no more out of dvc.lock, which dvc itself never does."""
    if not LOCK.is_file() or not _gone(LOCK.read_text(encoding="utf-8").splitlines(), stages):
        return
    from dvc.utils.serialize import modify_yaml  # writes the file as dvc does; takes half a second to import

    with modify_yaml(LOCK) as lock:
        for name in _gone([f"  {stage}:" for stage in lock["stages"]], stages):
            del lock["stages"][name]


def _gone(lines: list[str], stages: set[str]) -> list[str]:
    names = [line[2:-1] for line in lines if line.startswith(f"  {BY_DETECTOR}@") and line.endswith(":")]
    return [name for name in names if name not in stages]


def changed(before: dict[str, Any], now: Inputs) -> list[str]:
    """In words what differs between two states of a stage's inputs; [] where they are the same."""
    said = []
    for kind in ("libraries", "files", "code"):
        old, new = before.get(kind, {}), now[kind]
        names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        if kind == "libraries":
            said += [f"{name} {old.get(name) or 'none'} → {new.get(name) or 'none'}" for name in names]
        else:
            said += _folders(names) if kind == "files" else names
    return said


def _folders(names: list[str]) -> list[str]:
    """Files by name; of a folder with several, how many."""
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(Path(name).parent.as_posix(), []).append(name)
    return [
        f"{folder} changed: {len(found)} files" if len(found) > 1 else f"{found[0]} changed"
        for folder, found in by_folder.items()
    ]
