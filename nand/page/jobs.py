"""The one change that is at work: its program, how far it is, and what it asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.processes import end_tree
from nand.page.change import MARK, Job
from nand.project.account import USER
from nand_core.errors import NandError

PATIENCE = 600.0
"""Seconds for which a question waits; then nothing is changed."""
COMMAND = (sys.executable, "-m", "nand.page.change")


@dataclass
class Work:
    """A change from its beginning to its end.

    Attributes:
        number: from 1 on.
        who: said that they are.
        step: that it is at: waiting, checking, computing, recording, asking, and at the end done or failed.
        question: lost alarms by detector, while it asks.
        message: why it failed, or was not carried out.
    """

    number: int
    job: Job
    who: str
    step: str = "waiting"
    question: dict[str, list[str]] = field(default_factory=dict)
    message: str = ""
    started: float = field(default_factory=time.monotonic)
    asked: float = 0.0

    @property
    def over(self) -> bool:
        return self.step in ("done", "failed")


class Jobs:
    """Starts changes, one at a time; what a browser asks about them."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = tuple(command)
        self._guard = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self.last: Work | None = None

    def start(self, job: Job, who: str) -> Work:
        """Begin.

        Raises
        ------
        NandError
            While another one is at work.
        """
        with self._guard:
            if self.last is not None and not self.last.over:
                raise NandError("another change is at work; yours stays here as it is, accept it when that has ended")
            work = Work((self.last.number if self.last else 0) + 1, job, who)
            environment = {**os.environ, **({USER: who} if who.strip() else {})}
            self._process = subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self.last = work
            self._thread = threading.Thread(target=self._follow, args=(work, self._process), daemon=True)
            self._thread.start()
        self._write(job.model_dump_json())
        return work

    def answer(self, number: int, agreed: bool) -> None:
        """Of the question that a change asks.

        Raises
        ------
        NandError
            When it asks none, or none any more.
        """
        with self._guard:
            work = self.last
            if work is None or work.number != number or work.step != "asking":
                raise NandError("this change asks nothing any more")
            work.step, work.question = ("computing" if agreed else "ending"), {}
        self._write("yes" if agreed else "no")

    def tend(self) -> None:
        """Answer no to a question that nobody has answered for long: others may want to work."""
        work = self.last
        if work and work.step == "asking" and time.monotonic() - work.asked > PATIENCE:
            self.answer(work.number, False)

    def close(self) -> None:
        """End what is at work; params.yaml stays as it was."""
        if self._process is not None and self._process.poll() is None:
            end_tree(self._process)
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _write(self, line: str) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and said why

    def _follow(self, work: Work, process: subprocess.Popen[str]) -> None:
        said: deque[str] = deque(maxlen=20)
        with process:
            for line in process.stdout or ():
                if line.startswith(MARK):
                    self._event(work, json.loads(line.removeprefix(MARK)), said)
                elif line.strip():
                    said.append(" ".join(line.split()))
        if not work.over:
            work.message = _reason(said) or f"it ended with status {process.returncode}"
            work.step = "failed"

    def _event(self, work: Work, event: dict[str, Any], said: deque[str]) -> None:
        if "step" in event:
            work.step = event["step"]
        elif "question" in event:
            work.question, work.asked, work.step = event["question"], time.monotonic(), "asking"
        elif "done" in event:
            work.step = "done"
        else:
            refused = work.step == "ending"
            work.message = event.get("failed") or ("nothing is changed" if refused else _reason(said))
            work.message = work.message or event.get("stopped", "")
            work.step = "failed"


def _reason(said: deque[str]) -> str:
    """The last line that a program ended with."""
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return errors[-1] if errors else ""
