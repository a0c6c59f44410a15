"""The project under test, the clean runs that it is compared with, and how a trial is judged."""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.scratch import PARAMS, Scratch, executed

PIPELINE = (sys.executable, "-m", "flows", "pipeline")
REPRO = (sys.executable, "-m", "nand", "repro")
FORMULA = ("nand_core/decision.py", "lowered(self.rule.alpha * ", "lowered(0.5 * self.rule.alpha * ")


@dataclass
class Row:
    """One line of the table; ``least`` is the least number of items that had to be computed."""

    scenario: str
    tried: int = 0
    wrong: int = 0
    executed: int = 0
    least: int = 0
    notes: list[str] = field(default_factory=list)

    def judge(self, what: str, right: bool, computed: int = 0, least: int | None = None) -> None:
        """Count one trial; more items than ``least`` are wrong too, where it is given."""
        self.tried += 1
        self.executed += computed
        self.least += computed if least is None else least
        faults = [] if right else ["wrong result"]
        if least not in (None, computed):
            faults.append(f"{computed} items for {least}")
        if faults:
            self.wrong += 1
            self.notes.append(f"{what}: {', '.join(faults)}")


class Bench:
    """The project under test, a second one for clean runs, and what those gave."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a seeded draw
        self.project = Scratch(folder / "project", copy.deepcopy(PARAMS))
        self.clean = Scratch(folder / "clean", copy.deepcopy(PARAMS))
        self._known: dict[str, tuple[dict[str, str], int]] = {}
        for scratch in (self.project, self.clean):
            scratch.create()

    def expected(self) -> tuple[dict[str, str], int]:
        """Digests of a clean run of the project's present state, and how many items it took."""
        state = self._state()
        if state not in self._known:
            self.clean.forget()
            for name in ("nand_core", "data"):
                shutil.rmtree(self.clean.folder / name, ignore_errors=True)
                if (self.project.folder / name).exists():
                    shutil.copytree(self.project.folder / name, self.clean.folder / name)
            self.clean.params = copy.deepcopy(self.project.params)
            said = succeeded(self.clean.pipeline())
            self._known[state] = self.clean.digests(), sum(executed(said).values())
        return self._known[state]

    def _state(self) -> str:
        images = sorted((self.project.folder / "data").rglob("*.png"))
        code = self.project.folder / FORMULA[0]
        return json.dumps([self.project.params, [hash(p.read_bytes()) for p in images], hash(code.read_bytes())])

    def right(self) -> bool:
        """Whether artifacts and results are those of a clean run."""
        return self.project.digests() == self.expected()[0]

    def settle(self) -> None:
        """Run to the end, whatever was there."""
        succeeded(self.project.pipeline())

    def judge_ended(
        self,
        row: Row,
        what: str,
        processes: Sequence[subprocess.Popen],
        least: int | None = None,
        others: Sequence[Scratch] = (),
    ) -> None:
        """Wait for runs that were started and judge them together; shows what a failed one said.

        ``others`` are projects whose results must be the same.
        """
        outputs = [process.communicate()[0] for process in processes]
        failed = [output for process, output in zip(processes, outputs, strict=True) if process.returncode]
        for output in failed:
            print(f"{what}: a run failed:\n{output[-3000:]}", flush=True)
        right = not failed and self.right() and all(one.digests() == self.expected()[0] for one in others)
        row.judge(what, right, sum(sum(executed(output).values()) for output in outputs), least)

    def run(self, row: Row, what: str, least: int | None = None) -> dict[str, int]:
        """One run of the flow, judged."""
        counts = executed(succeeded(self.project.pipeline()))
        row.judge(what, self.right(), sum(counts.values()), least)
        return counts


def succeeded(said: subprocess.CompletedProcess) -> str:
    """What a run printed; RuntimeError if it failed."""
    if said.returncode:
        raise RuntimeError(f"a run failed:\n{said.stdout[-3000:]}{said.stderr[-3000:]}")
    return said.stdout + said.stderr
