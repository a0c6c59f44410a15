"""Why dvc would run a stage: what it depends on that is not as it was at its last run."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.checkout import DVC_LOCK
from flows.inputs import changed, inputs, path_of
from nand.project.place import PARAMS
from nand.project.run import dvc, dvc_objects, without_always
from nand.project.stages import declared_stages
from nand_core.errors import NandError, nearest
from nand_core.yaml12 import load

LONGEST = 60
"""Characters of a setting's value that are shown."""


def reasons(stage: str | None = None) -> dict[str, list[str]]:
    """By stage, what changed since it last ran; stages that nothing changed for are left out.

    Args:
        stage: this one alone; a detector's name stands for its maps.

    Raises
    ------
    NandError
        For a stage that dvc.yaml does not declare, and when dvc cannot say.
    """
    declared = declared_stages()
    short = {name.partition("@")[2]: name for name in declared if "@" in name}
    if stage is not None and stage not in declared and stage not in short:
        raise NandError(f"unknown stage {stage!r}{nearest(stage, [*declared, *short])}")
    now, status = inputs(), _status()
    lock = _recorded()
    wanted = declared if stage is None else [short.get(stage, stage)]
    found = {name: list(_of(lock.get(name), status.get(name, []), now.get(name), path_of(name))) for name in wanted}
    return {name: said for name, said in found.items() if said}


def _status() -> dict[str, list[Any]]:
    said = subprocess.run(dvc("status", "--json", "dvc.yaml"), capture_output=True, text=True, check=False)
    if said.returncode:
        raise NandError(f"dvc status failed: {' '.join(said.stderr.split()[-60:])}")
    return without_always(said.stdout)


def _recorded() -> dict[str, Any]:
    try:
        stages: dict[str, Any] = load(DVC_LOCK.read_text(encoding="utf-8"))["stages"]
    except FileNotFoundError:
        return {}
    return stages


def _of(
    recorded: Mapping[str, Any] | None, status: list[Any], now: dict[str, dict[str, str]] | None, path: Path
) -> Iterator[str]:
    if recorded is None:
        yield "was never run"
        return
    if now is not None:
        yield from _outside(recorded, now, path)
    yield from _settings(recorded.get("params", {}).get(PARAMS.name, {}))
    for change in status:
        if change == "changed command":
            yield "its command changed"
        for kind, names in change.items() if isinstance(change, dict) else ():
            for name, how in names.items():
                if name not in (str(path), PARAMS.name):
                    yield f"{name} {how}" + (", as its own out" if kind == "changed outs" else "")


def _outside(recorded: Mapping[str, Any], now: dict[str, dict[str, str]], path: Path) -> Iterator[str]:
    """What differs in the inputs that the stage last ran with, which dvc keeps in its cache."""
    md5 = next((dep["md5"] for dep in recorded.get("deps", []) if dep["path"] == path.as_posix()), None)
    if md5 is None or md5 == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest():
        return
    try:
        before = json.loads((dvc_objects() / md5[:2] / md5[2:]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield f"{path} changed; what it was is no longer in DVC's cache"
        return
    yield from changed(before, now)


def _settings(recorded: Mapping[str, Any]) -> Iterator[str]:
    current = load(PARAMS.read_text(encoding="utf-8"))
    for name, before in recorded.items():
        value: Any = current
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        yield from _differing(name, before, value)


def _differing(name: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differing(f"{name}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield f"{name}: {_shown(before)} → {_shown(now)}"


def _shown(value: Any) -> str:
    text = "not there" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
