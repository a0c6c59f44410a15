"""The project of these tests, and what one run of it leaves."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.scratch import ROOT, Scratch, last_run

__all__ = ["CLASSES", "PARAMS", "PHRASED", "ROOT", "Project", "State", "server_address"]

CLASSES = ("carpet", "wood")
PHRASED = ("carpet", "thread")
PARAMS: dict[str, Any] = {
    "dataset": {
        "kind": "demo",
        "root": "data/demo",
        "classes": list(CLASSES),
        "demo": {"train_good": 4, "test_good": 4, "per_type": 3},
    },
    "encoder": {"device": "cpu"},
    "prompts": {"provider": "auto"},
    "detectors": {"april_gan": {"kind": "april_gan"}, "patchcore": {"kind": "patchcore", "coreset": 0.1}},
    "suppression": {"dilation": 37, "competing": True},
    "evaluation": {"alpha": 1.0, "bootstrap": 50},
    "report": {"gallery": 1},
}


@dataclass(frozen=True)
class State:
    """What one run said and left behind."""

    said: subprocess.CompletedProcess
    stages: dict[str, dict[str, float]]
    files: dict[str, str]
    auroc: pd.DataFrame

    def executed(self) -> dict[str, int]:
        """Items executed, stages that executed none left out."""
        return {name: row["executed"] for name, row in self.stages.items() if row["executed"]}

    def rows(self, *columns: str) -> pd.DataFrame:
        """The AUROC table by detector, class and group."""
        return self.auroc.set_index(["detector", "class", "group"])[list(columns) or self.auroc.columns[3:]]


class Project(Scratch):
    """A scratch project whose runs have to succeed."""

    def run(self) -> State:
        """``nand repro`` that has to succeed."""
        said = self.repro()
        assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
        return State(
            said=said,
            stages=last_run(self.folder),
            files=self.digests(),
            auroc=pd.read_parquet(self.folder / "results/auroc.parquet"),
        )


def server_address(said: subprocess.CompletedProcess) -> tuple[str, int]:
    """Host and port that ``nand repro`` printed."""
    found = re.search(r"Prefect: http://([\d.]+):(\d+)", said.stdout)
    assert found, said.stdout
    return found[1], int(found[2])
