"""``nand page`` in a headless Chromium: how long typed texts wait for their answer, and whether its memory stays flat.

``python -m benchmarks.page answers PROJECT`` types 50 texts; ``python -m benchmarks.page memory PROJECT --minutes 30``
clicks at random. PROJECT is a folder with results. For the second one ``python -m benchmarks.page large FOLDER`` makes
a project of 5000 drawn test images first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.scratch import PARAMS, ROOT, Scratch, offline_environment

sys.path.append(str(ROOT / "tests"))
from browser import Browser, browser  # the tests' own

WORDS = (
    *("loose", "dark", "bright", "small", "long", "red", "blue", "white", "round", "thin"),
    *("fibre", "stain", "scratch", "dot", "hole", "stripe", "crack", "thread", "mark", "spot"),
)


@contextmanager
def served(project: Path) -> Iterator[tuple[Browser, psutil.Process]]:
    """The page of a project in a browser, and the page's process."""
    environment = {name: value for name, value in offline_environment().items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "nand", "page", "--port", "0"]
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        found = re.search(r"http://localhost:\d+", process.stdout.readline() if process.stdout else "")
        assert found, "the page did not start"
        with browser(found[0]) as window:
            yield window, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def answers(project: Path, count: int = 50, seed: int = 0) -> dict[str, Any]:
    """Seconds from the last letter to what it would change on the screen, and to all detectors' figures."""
    draw, first, whole = np.random.default_rng(seed), [], []
    with served(project) as (page, _):
        page.go("/")
        names = [one.get_attribute("href").rpartition("/")[2] for one in page.all(".card")]
        for number in range(count):
            if number % 10 == 0:
                page.go(f"/c/{names[number // 10 % len(names)]}")
                _ask(page, "warm up")
            text = " ".join([draw.choice(WORDS[:10]), draw.choice(WORDS[10:]), str(number)])
            seconds = _ask(page, text)
            first.append(seconds[0])
            whole.append(seconds[1])
    return {name: _summary(values) for name, values in (("first", first), ("all detectors", whole))}


def _ask(page: Browser, text: str) -> tuple[float, float]:
    page.script("document.body.dataset.answered = ''")
    page.type("#text", text)  # each letter begins anew; timed from the last one
    typed = time.monotonic()
    page.until(lambda: page.script("return document.body.dataset.answered"))
    first = time.monotonic() - typed
    page.until(lambda: not page.all("#answer[aria-busy]"))
    return first, time.monotonic() - typed


def _summary(values: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 2),
        "95th percentile": round(float(np.percentile(values, 95)), 2),
        "most": round(max(values), 2),
    }


def memory(project: Path, minutes: float, seed: int = 0) -> dict[str, Any]:
    """Random clicks; the page's resident memory over time, the first sixth of it left out as its beginning."""
    draw, sizes, clicks = np.random.default_rng(seed), [], 0
    with served(project) as (page, process):
        page.go("/")
        names = [one.get_attribute("href").rpartition("/")[2] for one in page.all(".card")]
        start, problems = time.monotonic(), []
        while time.monotonic() - start < 60 * minutes:
            with suppress(Exception):  # what is clicked may just be replaced
                _act(page, draw, names)
            clicks += 1
            problems += page.complaints()
            page.driver.get_log("performance")
            sizes.append((time.monotonic() - start, process.memory_info().rss))
            if clicks % 50 == 0:
                print(f"{sizes[-1][0] / 60:.1f} min, {clicks} clicks, {sizes[-1][1] / 2**20:.0f} MiB", flush=True)
        page.go("/")
        alive = page.text("h1")
    later = [size for when, size in sizes if when > 10 * minutes]
    third = len(later) // 3
    begin, end = (float(np.median(part)) for part in (later[:third], later[-third:]))
    return {
        "clicks": clicks,
        "problems": sorted(set(problems)),
        "alive": alive,
        "first third MiB": round(begin / 2**20),
        "last third MiB": round(end / 2**20),
        "ratio": round(end / begin, 3),
        "most MiB": round(max(size for _, size in sizes) / 2**20),
    }


def _act(page: Browser, draw: np.random.Generator, names: list[str]) -> None:
    kind = draw.choice(["class", "scroll", "scroll", "open", "open", "like", "text", "list", "elsewhere"])
    there = page.all("#tiles")
    if kind == "class" or not there:
        page.go(f"/c/{draw.choice(names)}")
    elif kind == "scroll":
        page.script(f"scrollTo(0, {draw.random()} * document.documentElement.scrollHeight)")
        time.sleep(0.3)
    elif kind == "elsewhere":
        page.go(draw.choice(("/", "/log", "/line")))
    elif kind == "text":
        page.type("#text", f"{draw.choice(WORDS[:10])} {draw.choice(WORDS[10:])}")
        time.sleep(draw.random() * 3)  # now and then the answer is not waited for
    else:
        selector = {"open": "#tiles .open", "like": "#tiles .like", "list": ".lists a"}[kind]
        found = f"const all = document.querySelectorAll('{selector}')"
        page.script(f"{found}; all[Math.floor({draw.random()} * all.length)].click()")
        time.sleep(0.3)
        page.script("document.getElementById('viewer')?.close()")


def large(folder: Path, images: int) -> None:
    """A project of five classes with ``images`` drawn test images in all, and its results."""
    params = json.loads(json.dumps(PARAMS))
    names = ["carpet", "grid", "leather", "tile", "wood"]
    params["dataset"]["classes"] = names
    each = images // len(names)
    params["dataset"]["demo"] = {"train_good": 20, "test_good": each - 4 * (each // 6), "per_type": each // 6}
    del params["detectors"]["april_gan"]
    made = Scratch(folder, params, patience=6 * 3600)
    made.create()
    said = made.repro()
    assert said.returncode == 0, said.stderr[-2000:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("answers", "memory", "large"))
    parser.add_argument("project", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--images", type=int, default=5000)
    given = parser.parse_args()
    if given.what == "large":
        large(given.project, given.images)
        return
    found = answers(given.project) if given.what == "answers" else memory(given.project, given.minutes)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
