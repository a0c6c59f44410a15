"""A project in a folder of its own: the checkout's code, its own settings, data, git and DVC repository."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from nand.project.run import without_always

ROOT = Path(__file__).resolve().parents[1]
FILES = ("dvc.yaml", "prefect.toml", "prefect.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
PACKAGES = ("nand", "flows", "tasks", "nand_core")
# Whoever would leave the machine gets a refused connection.
DEAD_PROXY = "http://127.0.0.1:9"
# As on a user's machine, code is compiled on the way: that must not look like a change.
DROPPED = ("PREFECT_", "NAND_", "PYTHONDONTWRITEBYTECODE")
DATABASE = "SCRATCH_DATABASE"
"""Names an empty database of a Prefect server: to make one takes 7 s of processor time, for every new project."""
COUNTS = re.compile(r"- (\S+): (\d+) of \d+ items \((\d+) from the cache\)")


PARAMS = {
    "dataset": {
        "kind": "demo",
        "root": "data/demo",
        "classes": ["carpet"],
        "demo": {"train_good": 4, "test_good": 4, "per_type": 2},
    },
    "encoder": {"device": "cpu"},
    "prompts": {"provider": "auto"},
    "detectors": {"april_gan": {"kind": "april_gan"}, "patchcore": {"kind": "patchcore", "coreset": 0.1}},
    "suppression": {"dilation": 55, "competing": True},
    "evaluation": {"bootstrap": 50},
    "report": {"gallery": 1},
}
"""Settings of a demo with one class that runs in seconds."""


def profile(name: str) -> dict[str, Any]:
    """A params file of the project, without a gallery."""
    params = YAML(typ="safe").load((ROOT / "profiles" / name).read_text(encoding="utf-8"))
    return params | {"report": {"gallery": 0}}


def offline_environment() -> dict[str, str]:
    """This process's environment without settings of Prefect and of NAND, and with no way out of the machine."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return inherited | {
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "HTTP_PROXY": DEAD_PROXY,
        "HTTPS_PROXY": DEAD_PROXY,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def seed_database(home: Path) -> None:
    """Give a Prefect server that is to start with this home the empty database that there is, if there is one."""
    if found := os.environ.get(DATABASE):
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, home / "prefect.db")


def executed(said: str) -> dict[str, int]:
    """Items that a run's log says it computed, by stage; stages that computed none are left out."""
    counts: dict[str, int] = {}
    for stage, done, cached in COUNTS.findall(said):
        counts[stage] = counts.get(stage, 0) + int(done) - int(cached)
    return {stage: count for stage, count in counts.items() if count}


@dataclass
class Scratch:
    """The project; ``params`` is written anew before every run, which may take ``patience`` seconds."""

    folder: Path
    params: dict[str, Any]
    environment: dict[str, str] = field(default_factory=offline_environment)
    patience: float = 600

    def create(self) -> None:
        """Copy the code (an edit during a run must not reach half of its stages) and commit it."""
        (self.folder / ".dvc").mkdir(parents=True)
        for name in FILES:
            shutil.copy(ROOT / name, self.folder / name)
        for name in PACKAGES:
            shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        seed_database(self.folder / ".nand/prefect")
        self.write_params()
        self.git("init", "--quiet")
        self.commit("project")

    def call(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=self.patience,
            check=False,
        )

    def git(self, *arguments: str) -> str:
        said = self.call("git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)
        assert said.returncode == 0, said.stderr
        return said.stdout

    def commit(self, message: str) -> str:
        """Commit everything; its name."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.call(sys.executable, "-m", "dvc", *arguments)

    def changed(self) -> dict[str, list[Any]]:
        """What ``dvc status`` says has changed, by stage."""
        return without_always(self.dvc("status", "--json", "dvc.yaml").stdout)

    def write_params(self) -> None:
        with (self.folder / "params.yaml").open("w") as file:
            YAML(typ="safe").dump(self.params, file)

    def repro(self) -> subprocess.CompletedProcess:
        """``nand repro``."""
        self.write_params()
        return self.call(sys.executable, "-m", "nand", "repro")

    def pipeline(self) -> subprocess.CompletedProcess:
        """The pipeline's flow in one process, without DVC."""
        self.write_params()
        return self.call(sys.executable, "-m", "flows", "pipeline")

    def measured(self) -> dict[str, dict[str, float]]:
        """``results/metrics.json`` of a run of the pipeline that has to succeed."""
        said = self.pipeline()
        assert said.returncode == 0, said.stdout[-2000:] + said.stderr[-2000:]
        return json.loads((self.folder / "results/metrics.json").read_text(encoding="utf-8"))

    def start(self, *command: str) -> subprocess.Popen:
        """A command at work, in a process group of its own."""
        self.write_params()
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def digests(self) -> dict[str, str]:
        """sha256 of every artifact and result, half-written ones too; not of what dvc alone writes for its stages."""
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for top in ("artifacts", "results")
            for path in sorted((self.folder / top).rglob("*"))
            if path.is_file() and path.name != ".gitignore" and path.parts[len(self.folder.parts) + 1] != "inputs"
        }

    def records(self) -> list[Path]:
        """The task cache's records."""
        return sorted(path for path in (self.folder / ".nand/store/records").glob("*") if path.is_file())

    def objects(self) -> list[Path]:
        """The store's objects."""
        return sorted(path for path in (self.folder / ".nand/store/objects").rglob("*") if path.is_file())

    def stored(self, out: str) -> Path:
        """The store's object of an out."""
        digest = hashlib.sha256((self.folder / out).read_bytes()).hexdigest()
        return self.folder / ".nand/store/objects" / digest[:2] / f"{digest}{Path(out).suffix}"

    def forget(self) -> None:
        """As before the first run, but for the data."""
        for name in ("artifacts", "results", ".nand/store", ".dvc/cache", ".dvc/tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "dvc.lock").unlink(missing_ok=True)


def last_run(folder: Path) -> dict[str, dict[str, float]]:
    """The stages of ``.nand/last_run.json``."""
    return json.loads((folder / ".nand/last_run.json").read_text())["stages"]


def kill_group(process: subprocess.Popen) -> None:
    """``kill -9`` of a process and of all in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
