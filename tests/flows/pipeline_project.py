"""A project in a folder of its own, and what one run of it leaves."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COPIED = ("dvc.yaml", "prefect.toml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
PACKAGES = ("nand_core", "tasks", "flows")
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
# Whoever would leave the machine gets a refused connection.
DEAD_PROXY = "http://127.0.0.1:9"


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


@dataclass
class Project:
    """The repository; ``params`` is written anew before every run."""

    folder: Path
    environment: dict[str, str]
    params: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(PARAMS)))

    def call(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )

    def git(self, *arguments: str) -> str:
        said = self.call("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)
        assert said.returncode == 0, said.stderr
        return said.stdout

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.call(sys.executable, "-m", "dvc", *arguments)

    def write_params(self) -> None:
        with (self.folder / "params.yaml").open("w") as file:
            YAML(typ="safe").dump(self.params, file)

    def repro(self) -> subprocess.CompletedProcess:
        self.write_params()
        return self.call(sys.executable, "-m", "nand_core.cli", "repro")

    def run(self) -> State:
        """``nand repro`` that has to succeed."""
        said = self.repro()
        assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
        return State(
            said=said,
            stages=json.loads((self.folder / ".nand/last_run.json").read_text())["stages"],
            files=self.digests(),
            auroc=pd.read_parquet(self.folder / "results/auroc.parquet"),
        )

    def digests(self) -> dict[str, str]:
        """sha256 of every artifact and result."""
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for top in ("artifacts", "results")
            for path in sorted((self.folder / top).rglob("*"))
            if path.is_file() and path.name != ".gitignore"
        }

    def stored(self, out: str) -> Path:
        """The store's object of an out."""
        digest = hashlib.sha256((self.folder / out).read_bytes()).hexdigest()
        return self.folder / ".nand/store/objects" / digest[:2] / f"{digest}{Path(out).suffix}"


def server_address(said: subprocess.CompletedProcess) -> tuple[str, int]:
    """Host and port that ``nand repro`` printed."""
    found = re.search(r"Prefect: http://([\d.]+):(\d+)", said.stdout)
    assert found, said.stdout
    return found[1], int(found[2])
