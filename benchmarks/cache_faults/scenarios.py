"""What is done to the project: each scenario yields its lines of the table."""

from __future__ import annotations

import copy
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from PIL import Image, ImageOps

from benchmarks.cache_faults.pipelines import pipelines
from benchmarks.cache_faults.stores import calls, killed, power
from benchmarks.cache_faults.swaps import Swapper
from benchmarks.cache_faults.trials import FORMULA, PIPELINE, REPRO, Bench, Row, succeeded
from benchmarks.scratch import PARAMS, Scratch, executed, kill_group


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
    texts = groups + 1  # and the control's
    judged = detectors * texts + detectors * groups
    image = sorted((project.folder / "data/demo/carpet/test/good").glob("*.png"))
    changes: dict[str, tuple[Callable[[], None], int]] = {
        "phrase": (
            lambda: project.params.update(prompts={"explicit": {"carpet": {"thread": ["a loose thread on carpet"]}}}),
            1 + 1 + 1 + detectors + detectors * groups + 1,
        ),
        "image": (lambda: mirror(image[0]), 1 + 1 + detectors + texts + detectors + judged + 1),
        "detector": (lambda: project.params["detectors"]["patchcore"].update(coreset=0.2), 3 + texts + groups + 1),
        "suppression": (lambda: project.params["suppression"].update(dilation=9), texts + judged + 1),
        "evaluation": (lambda: project.params["evaluation"].update(alpha=0.5), judged + 1),
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
    counts = {PIPELINE: round(0.6 * times), REPRO: round(0.4 * times)}
    for command, count in ((command, count) for command, count in counts.items() if count):
        row = Row(f"kill -9 of the group: {'flow' if command == PIPELINE else 'nand repro'}")
        project.forget()
        started = time.monotonic()
        project.start(*command).communicate()
        whole = time.monotonic() - started
        _, total = bench.expected()
        row.judge("undisturbed", bench.right())
        for _ in range(count):
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
            with suppress(psutil.NoSuchProcess):  # one that has ended meanwhile
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


def swapped(bench: Bench, times: int) -> Iterator[Row]:
    """Images, masks and maps replaced, and mostly put back, while runs read them: no key gives what it should not.

    Each run either ends or says in one line which file has changed; the one after the swaps is right.
    """
    row, project = Row("files swapped during runs"), bench.project
    bench.settle()
    started = time.monotonic()
    bench.expected()
    whole = time.monotonic() - started
    clean = {path.name: path.read_bytes() for path in bench.clean.records()}
    swaps = refused = kept = 0
    while swaps < times:
        project.forget()
        with Swapper(project.folder, bench.random, bench.random.uniform(0, 0.7 * whole)) as swapper:
            said = project.pipeline()
        swaps += swapper.swaps
        text = said.stdout + said.stderr
        changed = "has changed since it was first read" in text
        refused += changed
        found = {path.name: path.read_bytes() for path in project.records()}
        wrong = [key for key, record in found.items() if clean.get(key, record) != record]
        kept += len(found.keys() & clean.keys())
        row.judge(f"wrong objects: {wrong}", not wrong)
        row.judge(f"a run failed otherwise: {text[-1500:]}", said.returncode == 0 or changed)
        row.judge("the run after it", succeeded(project.pipeline()) != "" and bench.right())
    row.notes.append(f"{swaps} swaps in {row.tried // 3} runs, {refused} refused, {kept} records of a clean run's keys")
    yield row


# name -> (scenario, times in the full run, times in the short one)
SCENARIOS: dict[str, tuple[Callable[[Bench, int], Iterator[Row]], int, int]] = {
    "nothing": (nothing, 3, 1),
    "change": (one_change, 2, 1),
    "formula": (formula, 4, 1),
    "group": (killed_group, 50, 1),  # once: of the flow; nand repro is what "dvc" kills
    "dvc": (killed_dvc, 10, 1),
    "corruption": (corruption, 200, 10),
    "checkout": (checkout, 2, 1),
    "once": (at_once, 3, 1),
    "swaps": (swapped, 300, 20),
    "power": (power, 2000, 100),
    "calls": (calls, 1, 20),
    "kills": (killed, 100, 3),
    "pipelines": (pipelines, 100, 5),
}
