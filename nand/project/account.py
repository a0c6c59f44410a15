"""What an entry of the log says of a change: who made it, with which effect and with what versions."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from flows.checkout import DVC_LOCK, NORMALITIES_LOG, git, head
from nand.project.log import Alarms, Entry, Versions
from nand.project.place import PARAMS
from nand_core.artifacts.store import sha256_file
from nand_core.errors import NandError

if TYPE_CHECKING:
    import pandas as pd

    from nand_core.config import Params
    from nand_core.normalities import Normality

USER = "NAND_USER"
HEADS = Path("artifacts/heads")
LONGEST = 200


def account(
    normality: Normality, before: pd.DataFrame, after: pd.DataFrame, *, added: bool, undoes: int | None = None
) -> Entry:
    """An entry for a change that params.yaml does not have yet; its number and the settings' digest are to come.

    Args:
        before, after: the class's rows of ``results/normalities.parquet``; empty where it has no normality.
    """
    from nand_core.config import load_params

    params = load_params(PARAMS)
    own = params.prompts.explicit.get(normality.class_name, {}).get(normality.text, ())
    effect, lost = effect_of(before, after)
    return Entry(
        id=1,
        time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        who=who(),
        action="add" if added else "remove",
        class_name=normality.class_name,
        text=normality.text,
        group=normality.group,
        phrases=tuple(dict.fromkeys(normality.phrases)),
        like=normality.like,
        unlike=normality.unlike,
        asked=normality.asked,
        force=normality.force,
        strength=normality.strength,
        explicit=() if added or normality.group else own,
        effect=effect,
        lost=lost,
        versions=versions(params, normality.class_name),
        undoes=undoes,
    )


def who() -> str:
    """The environment's NAND_USER, else git's user (``Name <address>``), else the login's name."""
    said = os.environ.get(USER, "")
    if not said.strip():
        name, address = (_git("config", "--get", key) for key in ("user.name", "user.email"))
        said = " ".join(filter(None, [name, f"<{address}>" if address else ""]))
    return " ".join((said or _login()).split())[:LONGEST]


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return f"user {os.getuid()}"


def _git(*arguments: str) -> str:
    try:
        return git(*arguments)
    except NandError:
        return ""


def versions(params: Params, class_name: str) -> Versions:
    """Of the program, the code and the weights."""
    from nand_core.vlm.sources import encoder_digest

    heads = HEADS / f"{class_name}.safetensors"
    changed_by_nand = [f":(exclude){path}" for path in (PARAMS, DVC_LOCK, NORMALITIES_LOG)]
    return Versions(
        nand=_version(),
        commit=head(),
        modified=bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *changed_by_nand)),
        weights={**encoder_digest(params.encoder), **({"heads": sha256_file(heads)} if heads.is_file() else {})},
    )


def _version() -> str:
    try:
        return version("nand")
    except PackageNotFoundError:
        return ""


def effect_of(before: pd.DataFrame, after: pd.DataFrame) -> tuple[dict[str, dict[str, Alarms]], dict[str, int]]:
    """``Entry.effect`` and ``Entry.lost``."""
    from nand_core.effect import changes, comparable
    from nand_core.effect import lost as lost_of

    if not len(before) and not len(after):
        return {}, {}
    rows = changes(*comparable(before, after))
    effect: dict[str, dict[str, Alarms]] = {}
    for (detector, kind), part in rows.groupby(["detector", "kind"]):
        effect.setdefault(str(detector), {})[str(kind)] = Alarms(
            images=len(part),
            alarms_before=int(part["before"].sum()),
            alarms_after=int(part["after"].sum()),
            added=bool(part["added"].any()),
        )
    lost = lost_of(rows).groupby(rows["detector"]).sum()
    return effect, {str(detector): int(count) for detector, count in lost.items()}
