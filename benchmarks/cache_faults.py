"""Faults against the cache: ``python -m benchmarks.cache_faults [--scale full|short] [--seed N] [--only NAME ...]``.

A small demo pipeline is changed, killed, damaged and run several times at once. After every trial its artifacts and
results must be, byte for byte, those of a clean run of the same settings, code and data; items that were finished must
not be computed again. Exit status 1 if any result was wrong; the last line is the summary.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from benchmarks.scratch import Scratch, executed, kill_group
from flows.__main__ import wait_for_server
from nand_core.server import local_server

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
    "suppression": {"dilation": 37, "competing": True},
    "evaluation": {"bootstrap": 50},
    "report": {"gallery": 1},
}
PIPELINE = (sys.executable, "-m", "flows", "pipeline")
REPRO = (sys.executable, "-m", "nand_core.cli", "repro")
FORMULA = ("nand_core/normality.py", "anomaly * (1 - alpha * suppression)", "anomaly * (1 - 0.5 * alpha * suppression)")


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
        self.random = random.Random(seed)
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


def nothing(bench: Bench, times: int) -> Iterator[Row]:
    """Nothing changed, with and without DVC."""
    row = Row("nothing changed: flow")
    bench.settle()
    for _ in range(times):
        bench.run(row, "flow", least=0)
    yield row
    row = Row("nothing changed: nand repro")
    succeeded(bench.project.repro())
    for _ in range(times):
        started = time.monotonic()
        said = succeeded(bench.project.repro())
        row.notes.append(f"{time.monotonic() - started:.1f} s")
        row.judge("repro", bench.right() and "Running stage" not in said, sum(executed(said).values()), 0)
    yield row


def one_change(bench: Bench, times: int) -> Iterator[Row]:
    """One phrase, image, detector's, suppression's or evaluation's parameter, each alone and taken back."""
    project = bench.project
    detectors, groups = 2, 4
    image = sorted((project.folder / "data/demo/carpet/test/good").glob("*.png"))
    changes: dict[str, tuple[Callable[[], None], int]] = {
        "phrase": (
            lambda: project.params.update(prompts={"explicit": {"carpet": {"thread": ["a loose thread on carpet"]}}}),
            1 + 1 + 1 + detectors + 1,
        ),
        "image": (lambda: mirror(image[0]), 1 + 1 + detectors + groups + detectors * groups + 1),
        "detector": (lambda: project.params["detectors"]["patchcore"].update(coreset=0.2), 1 + 1 + groups + 1),
        "suppression": (lambda: project.params["suppression"].update(dilation=9), groups + detectors * groups + 1),
        "evaluation": (lambda: project.params["evaluation"].update(alpha=0.5), detectors * groups + 1),
    }
    for name, (change, least) in changes.items():
        row = Row(f"one {name} changed, and back")
        for trial in range(times):
            bench.settle()
            params, pixels = copy.deepcopy(project.params), image[0].read_bytes()
            change()
            bench.run(row, name, least=least if trial == 0 else 0)
            project.params = params
            image[0].write_bytes(pixels)
            bench.run(row, f"{name} taken back", least=0)
        yield row


def mirror(path: Path) -> None:
    with Image.open(path) as image:
        ImageOps.mirror(image).save(path)


def formula(bench: Bench, times: int) -> Iterator[Row]:
    """A formula edited and edited back: never a stale result."""
    row = Row("formula edited, and back")
    path = bench.project.folder / FORMULA[0]
    original = path.read_text()
    assert FORMULA[1] in original
    for trial in range(times):
        repro = trial % 2 == 1
        run = bench.project.repro if repro else bench.project.pipeline
        succeeded(run())
        path.write_text(original.replace(FORMULA[1], FORMULA[2]))
        counts = executed(succeeded(run()))
        row.judge("edited", bench.right() and not counts.get("image_features"), sum(counts.values()))
        path.write_text(original)
        counts = executed(succeeded(run()))
        row.judge("edited back", bench.right(), sum(counts.values()), 0)
    yield row


def killed_group(bench: Bench, times: int) -> Iterator[Row]:
    """kill -9 of the whole process group at a random moment of a run from nothing, then a re-run."""
    project = bench.project
    for command, share in ((PIPELINE, 0.6), (REPRO, 0.4)):
        row = Row(f"kill -9 of the group: {'flow' if command == PIPELINE else 'nand repro'}")
        project.forget()
        started = time.monotonic()
        project.start(*command).communicate()
        whole = time.monotonic() - started
        _, total = bench.expected()
        row.judge("undisturbed", bench.right())
        for _ in range(max(1, round(times * share))):
            project.forget()
            process = project.start(*command)
            moment = bench.random.uniform(0, whole)
            time.sleep(moment)
            kill_group(process)
            least = total - len(project.records())
            bench.judge_ended(row, f"killed at {moment:.1f} s of {whole:.0f}", [project.start(*command)], least)
        yield row


def killed_dvc(bench: Bench, times: int) -> Iterator[Row]:
    """kill -9 of dvc alone, its stage going on; a second run started at once."""
    row = Row("kill -9 of dvc alone, a second run at once")
    project = bench.project
    for _ in range(times):
        project.forget()
        process = project.start(*REPRO)
        time.sleep(bench.random.uniform(2, 25))
        for child in psutil.Process(process.pid).children(recursive=True):
            if "dvc" in child.cmdline():
                child.send_signal(signal.SIGKILL)
        second = project.start(*REPRO)
        process.communicate()
        bench.judge_ended(row, "second run", [second])
    yield row


def corruption(bench: Bench, times: int) -> Iterator[Row]:
    """Bytes flipped, files cut, emptied and deleted among records, objects and outs, five at a time."""
    project = bench.project
    row = Row("corruptions, by five: flow")
    bench.settle()
    for trial in range(-(-times // 5)):
        damaged = []
        for _ in range(5):
            kind = bench.random.choice(("record", "object", "out"))
            outs = [project.folder / name for name in project.digests()]
            files = {"record": project.records, "object": project.objects, "out": lambda outs=outs: outs}[kind]()
            path = bench.random.choice([file for file in files if file not in damaged])
            damage(path, bench.random)
            damaged.append(path)
        last = trial + 1 == -(-times // 5)
        said = project.repro() if last or trial % 10 == 9 else project.pipeline()
        counts = executed(succeeded(said))
        # DVC runs no stage whose outs are right: what lies behind it is healed when it is next asked for.
        for path in damaged:
            row.judge(path.relative_to(project.folder).as_posix(), bench.right())
        row.executed += sum(counts.values())
    yield row


def damage(path: Path, chance: random.Random) -> None:
    """Flip a byte, cut, empty or delete a file."""
    content = bytearray(path.read_bytes())
    how = chance.choice(("flip", "cut", "empty", "delete")) if content else "delete"
    path.chmod(0o644)
    if how == "delete":
        path.unlink()
        return
    if how == "flip":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    else:
        del content[0 if how == "empty" else chance.randrange(len(content)) :]
    path.write_bytes(content)


def checkout(bench: Bench, times: int) -> Iterator[Row]:
    """An older commit, with and without its outs, and back."""
    row = Row("git checkout of an older commit, and back")
    project = bench.project
    for trial in range(times):
        succeeded(project.repro())
        old_params, old = copy.deepcopy(project.params), project.commit("old")
        project.params["suppression"]["dilation"] = 5 + 2 * trial
        succeeded(project.repro())
        new_params, new = copy.deepcopy(project.params), project.commit("new")
        for with_outs in (True, False):
            for name, commit, params in (("old", old, old_params), ("new", new, new_params)):
                project.git("checkout", "--quiet", commit)
                if with_outs:
                    succeeded(project.dvc("checkout", "--quiet"))
                project.params = copy.deepcopy(params)
                said = succeeded(project.repro())
                row.judge(f"{name}, dvc checkout: {with_outs}", bench.right(), sum(executed(said).values()), 0)
        project.params = copy.deepcopy(PARAMS)
    yield row


def at_once(bench: Bench, times: int) -> Iterator[Row]:
    """Two runs, and in more than one trial four, at once on one checkout; two checkouts with one store."""
    project = bench.project
    for count in (2, 4) if times > 1 else (2,):
        row = Row(f"{count} runs at once on one checkout")
        for _ in range(times):
            for name, command in (("flow", PIPELINE), ("nand repro", REPRO)):
                project.forget()
                processes = [project.start(*command) for _ in range(count)]
                bench.judge_ended(row, name, processes, bench.expected()[1])
        yield row
    row = Row("two checkouts, one store")
    other = Scratch(project.folder.parent / "other", copy.deepcopy(project.params), dict(project.environment))
    other.create()
    for _ in range(times):
        _, total = bench.expected()
        with tempfile.TemporaryDirectory(dir=project.folder.parent) as shared:
            for scratch in (project, other):
                scratch.forget()
                scratch.environment["NAND_STORE"] = shared
            processes = [scratch.start(*PIPELINE) for scratch in (project, other)]
            bench.judge_ended(row, "flows", processes, total, others=[other])
        for scratch in (project, other):
            scratch.environment.pop("NAND_STORE")
    yield row


# name -> (scenario, times in the full run, times in the short one)
SCENARIOS: dict[str, tuple[Callable[[Bench, int], Iterator[Row]], int, int]] = {
    "nothing": (nothing, 3, 1),
    "change": (one_change, 2, 1),
    "formula": (formula, 4, 1),
    "group": (killed_group, 50, 2),
    "dvc": (killed_dvc, 10, 1),
    "corruption": (corruption, 200, 10),
    "checkout": (checkout, 2, 1),
    "once": (at_once, 3, 1),
}


@contextmanager
def served(bench: Bench) -> Iterator[None]:
    """One Prefect server for all runs."""
    with local_server(bench.project.folder.parent / "prefect", bench.project.environment) as url:
        wait_for_server(url)
        for scratch in (bench.project, bench.clean):
            scratch.environment["PREFECT_API_URL"] = url
        yield


def main() -> int:
    """Run the scenarios in a random order and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=("full", "short"), default="short")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(SCENARIOS), default=list(SCENARIOS))
    chosen = parser.parse_args()
    console = Console(width=120)
    table = Table(title="Faults against the cache")
    for name in ("scenario", "tried", "wrong", "executed", "least", "notes"):
        table.add_column(name, justify="left" if name in ("scenario", "notes") else "right")
    tried = wrong = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nand-faults-") as folder:
        bench = Bench(Path(folder), chosen.seed)
        with served(bench):
            order = list(chosen.only)
            bench.random.shuffle(order)
            for name in order:
                scenario, full, short = SCENARIOS[name]
                bench.project.params = copy.deepcopy(PARAMS)
                for row in scenario(bench, full if chosen.scale == "full" else short):
                    print(f"{row.scenario}: {row.wrong} wrong of {row.tried}", *row.notes, sep="\n  ", flush=True)
                    cells = (row.tried, row.wrong, row.executed, row.least)
                    table.add_row(row.scenario, *map(str, cells), "; ".join(row.notes[:4]))
                    tried, wrong = tried + row.tried, wrong + row.wrong
    console.print(table)
    print(f"{wrong} wrong of {tried} trials, {time.monotonic() - started:.0f} s, seed {chosen.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.pop("PREFECT_API_URL", None)
    sys.exit(main())
