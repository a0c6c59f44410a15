"""``python -m nand.page.change``: one change of what is normal, as a program of its own that the page talks to.

It reads a job from its first line, then answers to its questions; on standard output, beside what the stages print,
lines that begin with ``MARK`` hold events.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pydantic import Field

from nand.page.draft import for_operators, planned
from nand.page.preview import agreement, lost_ids
from nand.page.snapshot import digest_now
from nand.project.change import Change, Effect, Groups, Stopped, apply
from nand.project.examples import Examples, Given
from nand.project.plans import removal
from nand.project.undo import undoing
from nand_core.config import Params
from nand_core.effect import changes, comparable
from nand_core.errors import NandError
from nand_core.settings import Settings

MARK = "\x1enand "
MEANWHILE = "what is normal has changed meanwhile; look at what yours would change now, then accept it again"

Plan = Callable[[Params, Groups], Change]


class Place(Settings):
    """An image's file and the box in it, X,Y,W,H."""

    path: Path
    box: str | None = None


class Job(Settings):
    """A change.

    Attributes:
        what: makes a text, or what images show, normal; takes it back; or reverses an entry of the log.
        digest: of params.yaml as it was when whoever asked for it saw what it does.
        agreed: which lost alarms they agreed to.
        entry: the number to undo.
    """

    what: str = Field(pattern="^(add|remove|undo)$")
    digest: str
    class_name: str = ""
    text: str = ""
    phrases: tuple[str, ...] = ()
    like: tuple[Place, ...] = ()
    unlike: tuple[Place, ...] = ()
    ask: bool = False
    strength: float = 1.0
    agreed: str = ""
    entry: int = 0


def carry_out(job: Job, tell: Callable[[dict[str, Any]], None], answer: Callable[[], bool]) -> dict[str, Any]:
    """Carry out a job; the event that ends it.

    Args:
        tell: of every step, and of the question when alarms would be lost to which nobody agreed.
        answer: to that question.
    """

    def agree(change: Change, effect: Effect) -> bool:
        gone = lost_ids(changes(*comparable(effect.before, effect.after)))
        if agreement(gone) == job.agreed:
            return True
        tell({"question": gone})
        return answer()

    try:
        with _plan(job) as (class_name, plan):
            asked = agree if job.what == "add" else None
            apply(class_name, _unless_changed(job, plan), _unseen, asked, lambda step: tell({"step": step}))
    except NandError as error:
        return {"failed": for_operators(error)}
    except Stopped as stopped:
        return {"stopped": str(stopped), "status": stopped.status}
    return {"done": True}


def _unseen(change: Change, effect: Effect) -> None:
    """The page is loaded anew at the end, and shows what holds then."""


def _plan(job: Job) -> AbstractContextManager[tuple[str, Plan]]:
    if job.what == "undo":
        return undoing(job.entry)
    if job.what == "remove":
        return nullcontext((job.class_name, lambda params, groups: removal(params, groups, job.class_name, job.text)))
    like, unlike = (tuple(Given(one.path, one.box) for one in side) for side in (job.like, job.unlike))
    examples = Examples(like, unlike, from_test=True)
    how = {"examples": examples, "ask": job.ask, "strength": job.strength}
    return nullcontext((job.class_name, planned(job.class_name, job.text, job.phrases, **how)))


def _unless_changed(job: Job, plan: Plan) -> Plan:
    """Refuses where somebody else was faster; asked while no other command is at work."""

    def checked(params: Params, groups: Groups) -> Change:
        if digest_now() != job.digest:
            raise NandError(MEANWHILE)
        return plan(params, groups)

    return checked


def main() -> None:
    """Carry out the job of the first line."""

    def tell(event: dict[str, Any]) -> None:
        print(f"\n{MARK}{json.dumps(event)}", flush=True)

    job = Job.model_validate_json(sys.stdin.readline())
    tell(carry_out(job, tell, lambda: sys.stdin.readline().strip() == "yes"))


if __name__ == "__main__":
    main()
