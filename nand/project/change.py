"""A change of params.yaml that concerns one class: its results first, then the file, then DVC's record of both."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flows.consent import STATUS
from flows.inputs import inputs
from flows.processes import run_tree, supervised
from flows.warm import LATE, prepare
from nand.project import params_file
from nand.project.account import account
from nand.project.examples import EXAMPLES, copy_checked, placed
from nand.project.log import logged
from nand.project.place import PARAMS, STATE
from nand.project.run import complete_record, dvc, running, without_always
from nand.project.stages import declared_stages
from nand_core.errors import NandError

if TYPE_CHECKING:
    import pandas as pd

    from nand_core.config import Params
    from nand_core.normalities import Normality

EFFECT = Path("results/normalities.parquet")
TRIAL = STATE / "trial"
AS_IT_WAS = "params.yaml is as it was"
CHANGED = "params.yaml is changed, 'nand repro' completes the run"
Groups = dict[str, tuple[str, ...]]
Step = Literal["checking", "computing", "recording"]


class Stopped(Exception):
    """A program failed, which has said why, or the user stopped it; the message says how params.yaml is left."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Change:
    """What is to change.

    Attributes:
        normality: the one that is added or removed.
        edit: the text of params.yaml with the change in it.
        added: whether the normality's phrases are new and worth showing.
        files: new files of examples, each with the file of which it is a copy.
        tests: how many of the examples are test images, which no figure counts.
        limit: share of the other anomalies that it may cost their alarm without being asked.
        undoes: the entry of the log that it reverses.
    """

    normality: Normality
    edit: Callable[[str], str]
    added: bool
    files: Mapping[Path, Path] = field(default_factory=dict)
    tests: int = 0
    limit: float = 1.0
    undoes: int | None = None


@dataclass(frozen=True)
class Effect:
    """A class's rows of ``results/normalities.parquet`` before and after a change of its normalities."""

    before: pd.DataFrame
    after: pd.DataFrame


def look(class_name: str, plan: Callable[[Params, Groups], Change]) -> tuple[Change, Effect]:
    """What the change would do; nothing of the project is touched.

    Raises
    ------
    NandError
        As :func:`apply`, and when the results are not those of params.yaml.
    Stopped
        When a stage fails, and on SIGINT and SIGTERM.
    """
    try:
        with running(uuid.uuid4().hex) as environment:
            change, current = _looked_at(class_name, plan, environment)
            if change is None or not current:
                raise NandError("the results are not those of params.yaml; run 'nand repro' first, then try")
            shutil.rmtree(TRIAL, ignore_errors=True)
            settings, examples = TRIAL / "params.yaml", TRIAL / "examples"
            params_file.write(settings, change.edit(params_file.read(PARAMS)))
            for target, source in change.files.items():
                copy_checked(source, examples / target.relative_to(EXAMPLES))
            return change, _tried(environment, change, settings, examples, "page")
    except (KeyboardInterrupt, SystemExit) as error:
        status = 130 if isinstance(error, KeyboardInterrupt) else int(error.code or 1)
        raise Stopped(status, AS_IT_WAS) from error


def apply(
    class_name: str,
    plan: Callable[[Params, Groups], Change],
    show: Callable[[Change, Effect], None],
    agree: Callable[[Change, Effect], bool] | None = None,
    tell: Callable[[Step], None] = lambda step: None,
) -> Change:
    """Carry out the change that ``plan`` makes of the settings and the data set's groups.

    The results are computed from a copy of params.yaml; a run that fails or is stopped leaves the file as it was.

    Args:
        class_name: a class of the data set.
        plan: makes the change.
        show: told the change and its effect as soon as they are known: of an addition before anything is written.
        agree: asked when an added normality would cost more alarms than ``evaluation.lost_alarms``; None: nobody is.
        tell: told each step as it begins.

    Returns
    -------
    Change
        What holds now.

    Raises
    ------
    NandError
        For a mistake in the settings, the class or the text.
    Stopped
        When a stage fails, when ``agree`` says no (status 3), and on SIGINT and SIGTERM.
    """
    run, left = uuid.uuid4().hex, AS_IT_WAS
    try:
        with running(run) as environment:
            tell("checking")
            text, change = _prepare(class_name, plan, environment)
            before = _rows(EFFECT, class_name)
            settings = STATE / "changed_params.yaml"
            params_file.write(settings, change.edit(text))
            tell("computing")
            with placed(change.files):
                if change.added:
                    effect = _tried(environment, change, settings, EXAMPLES)
                    show(change, effect)
                    if agree is not None and _costs(effect, change.limit) and not agree(change, effect):
                        raise Stopped(STATUS, AS_IT_WAS)
                _stage(environment, "normality", class_name, str(settings))
                after = _rows(EFFECT, class_name)
                entry = account(change.normality, before, after, added=change.added, undoes=change.undoes)
                untouched = params_file.read(PARAMS) == text
                edited = change.edit(params_file.read(PARAMS))
                with logged(entry, edited):
                    left = CHANGED
                    params_file.write(PARAMS, edited)
            if not change.added:
                show(change, Effect(before, after))
            tell("recording")
            if untouched:
                _dvc(environment, "commit", "--force", "--quiet", "dvc.yaml")
            else:
                print("params.yaml was edited meanwhile: 'nand repro' does the rest", file=sys.stderr)
            complete_record(run, declared_stages())
            return change
    except (KeyboardInterrupt, SystemExit) as error:
        status = 130 if isinstance(error, KeyboardInterrupt) else int(error.code or 1)
        raise Stopped(status, left) from error


def _prepare(
    class_name: str, plan: Callable[[Params, Groups], Change], environment: Mapping[str, str]
) -> tuple[str, Change]:
    """The settings' text and a change of it that holds together, with all results up to the settings."""
    change, current = _looked_at(class_name, plan, environment)
    if not current:
        print("the results are not those of params.yaml: 'nand repro' first", flush=True)
        if run_tree(dvc("repro"), environment):
            raise Stopped(1, AS_IT_WAS)
        change = None  # to be checked against the new results
    text = params_file.read(PARAMS)
    change = change or _checked(class_name, plan)
    if change is None:
        raise NandError("the demo's images are not there: 'nand repro' draws them")
    return text, change


def _tried(environment: Mapping[str, str], change: Change, settings: Path, examples: Path, *page: str) -> Effect:
    """What the change would do."""
    one = change.normality
    _stage(environment, "trial", one.class_name, one.name, str(settings), str(examples), *page)
    return Effect(_rows(EFFECT, one.class_name), _rows(TRIAL / "effect.parquet", one.class_name))


def _costs(effect: Effect, limit: float) -> bool:
    """Whether by some detector a larger share than ``limit`` of the other anomalies loses its alarm."""
    from nand_core.effect import changes, comparable, too_many_lost

    return bool(too_many_lost(changes(*comparable(effect.before, effect.after)), limit))


def _looked_at(
    class_name: str, plan: Callable[[Params, Groups], Change], environment: Mapping[str, str]
) -> tuple[Change | None, bool]:
    """The change as :func:`_checked`, and whether the results are those of the settings as they stand."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    print("looking at what the results were made from", flush=True)
    change = _checked(class_name, plan)
    if change:
        print(f"{class_name}: computing what {change.normality.text!r} changes", flush=True)
        stage = "trial" if change.added else "normality"
        late = [LATE] * (change.added and change.normality.apart)
        prepare(environment, stage, *late)  # takes longer than all that is looked at below
    inputs()
    with supervised(dvc("status", "--json", "dvc.yaml"), environment, text=True, **pipes) as asked:
        answer, said = asked.communicate()
    if asked.returncode:
        raise NandError(f"dvc status failed: {' '.join(said.split()[-60:])}")
    return change, not without_always(answer)


def _checked(class_name: str, plan: Callable[[Params, Groups], Change]) -> Change | None:
    """The change, if params.yaml is valid with it too; None while the demo's images are yet to be drawn."""
    from nand.project.structure import groups_of, images
    from nand_core.config import load_params
    from nand_core.errors import nearest

    params = load_params(PARAMS)
    found = images(params)
    if found is None:
        return None
    groups = groups_of(found)
    if class_name not in groups:
        raise NandError(f"unknown class {class_name!r}{nearest(class_name, groups)}")
    change = plan(params, groups)
    trial = STATE / "changed_params.yaml"
    params_file.write(trial, change.edit(params_file.read(PARAMS)))
    load_params(trial)
    return change


def _stage(environment: Mapping[str, str], *arguments: str) -> None:
    if run_tree([sys.executable, "-m", "flows", *arguments], environment):
        raise Stopped(1, AS_IT_WAS)


def _dvc(environment: Mapping[str, str], *arguments: str) -> None:
    if run_tree(dvc(*arguments), environment):
        raise Stopped(1, CHANGED)


def _rows(path: Path, class_name: str) -> pd.DataFrame:
    import pandas as pd

    effect = pd.read_parquet(path)
    return effect[effect["class"] == class_name]
