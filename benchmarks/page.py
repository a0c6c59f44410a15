"""``nand page`` in a headless Chromium: how long typed texts wait for their answer, and whether its memory stays flat.

``python -m benchmarks.page answers PROJECT`` types 50 texts; ``python -m benchmarks.page memory PROJECT --minutes 30``
clicks at random. PROJECT is a folder with results. For the second one ``python -m benchmarks.page large FOLDER`` makes
a project of 5000 drawn test images first. ``python -m benchmarks.page pictures PROJECT`` opens what ``nand try`` wrote.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

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
    """Random acts; what went wrong, and the page's resident memory, its first sixth left out as a beginning."""
    draw, sizes, done = np.random.default_rng(seed), [], Counter[str]()
    with served(project) as (page, process):
        page.go("/")
        names = [one.get_attribute("href").rpartition("/")[2] for one in page.all(".card")]
        start, problems, number = time.monotonic(), Counter[str](), 0
        while time.monotonic() - start < 60 * minutes:
            act = ACTS[draw.integers(len(ACTS))]
            with suppress(WebDriverException):  # what is clicked may just be replaced, or not be there
                if not page.all("#tiles") and draw.random() < 0.5:
                    page.go(f"/c/{draw.choice(names)}")
                done[act.__name__.strip("_")] += bool(act(page, draw))
            number += 1
            problems.update(_problems(page))
            sizes.append((time.monotonic() - start, process.memory_info().rss))
            if number % 50 == 0:
                print(f"{sizes[-1][0] / 60:.1f} min, {number} tries, {sizes[-1][1] / 2**20:.0f} MiB", flush=True)
        page.go("/")
        alive = page.text("h1")
    later = [size for when, size in sizes if when > 10 * minutes]
    third = len(later) // 3
    begin, end = (float(np.median(part)) for part in (later[:third], later[-third:]))
    return {
        "acts": dict(done.most_common()),
        "problems": dict(problems),
        "alive": alive,
        "first third MiB": round(begin / 2**20),
        "last third MiB": round(end / 2**20),
        "ratio": round(end / begin, 3),
        "most MiB": round(max(size for _, size in sizes) / 2**20),
    }


def _problems(page: Browser) -> Iterator[str]:
    """Whatever the console, an answer of the server, or the page itself says is wrong."""
    yield from page.complaints()
    for one in page.driver.get_log("performance"):
        message = json.loads(one["message"])["message"]
        told = message["params"]
        if message["method"] == "Network.responseReceived" and told["response"]["status"] >= 400:
            yield f"{told['response']['status']} {urlsplit(told['response']['url']).path}"
        if message["method"] == "Network.loadingFailed" and not told.get("canceled"):
            yield told["errorText"]
    for said in page.script(
        "return [...document.querySelectorAll('[role=alert]:not([hidden])')].map(e => e.innerText)"
    ):
        if said and "has to lie within" not in said:
            yield f"the page says: {said}"


def _any(page: Browser, draw: np.random.Generator, selector: str) -> bool:
    """Click one of what can be seen of a selector; whether there was any."""
    found = [one for one in page.all(selector)[:400] if one.is_displayed() and one.is_enabled()]
    if found:
        one = found[draw.integers(len(found))]
        page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", one)
        one.click()
        time.sleep(0.2)
    return bool(found)


def _text(draw: np.random.Generator) -> str:
    return f"{draw.choice(WORDS[:10])} {draw.choice(WORDS[10:])}{draw.choice(['', ' zorkly'])}"


def _front(page: Browser, draw: np.random.Generator) -> bool:
    page.go("/")
    return _any(page, draw, ".card")


def _line(page: Browser, draw: np.random.Generator) -> bool:
    page.go("/line")
    _any(page, draw, "summary")
    return _any(page, draw, "a.like")


def _log(page: Browser, draw: np.random.Generator) -> bool:
    page.go("/log")
    return _any(page, draw, "summary")


def _list(page: Browser, draw: np.random.Generator) -> bool:
    return _any(page, draw, ".lists a")


def _detector(page: Browser, draw: np.random.Generator) -> bool:
    return _any(page, draw, "#detector option")


def _scroll(page: Browser, draw: np.random.Generator) -> bool:
    page.script(f"scrollTo(0, {draw.random()} * document.documentElement.scrollHeight)")
    time.sleep(0.3)
    return bool(page.all("#tiles"))


def _more(page: Browser, draw: np.random.Generator) -> bool:
    """Down to the end of what is there, where the next part comes by itself."""
    before = len(page.all("#tiles .tile"))
    for _ in range(draw.integers(1, 8)):
        page.script("scrollTo(0, document.documentElement.scrollHeight)")
        time.sleep(0.4)
    return len(page.all("#tiles .tile")) > before


def _write(page: Browser, draw: np.random.Generator) -> bool:
    page.type("#text", _text(draw))
    time.sleep(draw.random() * 3)  # now and then the answer is not waited for
    return True


def _phrases(page: Browser, draw: np.random.Generator) -> bool:
    _any(page, draw, ".say summary")
    page.type("#phrases", f"{_text(draw)}\n{_text(draw)}" if draw.random() < 0.5 else "")
    time.sleep(draw.random() * 3)
    return True


def _like(page: Browser, draw: np.random.Generator) -> bool:
    return _any(page, draw, "#tiles .like")


def _leave_out(page: Browser, draw: np.random.Generator) -> bool:
    return all(_any(page, draw, "#chosen .remove") for _ in range(1 + len(page.all("#chosen .remove")) // 2))


def _ask_words(page: Browser, draw: np.random.Generator) -> bool:
    return _any(page, draw, "#asks")


def _box(page: Browser, draw: np.random.Generator) -> bool:
    """Open an image, draw a box or type it, fade, and say what it is, or nothing."""
    if not _any(page, draw, "#tiles .open, #result .open, .open-chosen"):
        return False
    stage = page.one("#stage")
    page.until(lambda: page.script("return document.getElementById('viewer-image').naturalWidth"))
    page.one("#viewer-fade").send_keys(draw.choice([Keys.ARROW_LEFT, Keys.HOME, Keys.END]))
    if draw.random() < 0.6:
        wide, high = (int(stage.size[side] // 2) - 4 for side in ("width", "height"))
        by = [int(draw.integers(-half, half)) for half in (wide, high, wide, high)]
        mouse = ActionChains(page.driver, duration=50).move_to_element_with_offset(stage, by[0], by[1]).click_and_hold()
        mouse.move_to_element_with_offset(stage, by[2], by[3]).release().perform()
    elif draw.random() < 0.5:
        for side in "xywh":
            page.type(f"#box-{side}", str(draw.integers(1, 200)))
    kind = draw.choice(["like", "like", "unlike", "close", "escape"])
    if kind != "escape":
        page.one(f"#viewer-{kind}").click()
    if page.script("return document.getElementById('viewer').open"):
        page.one("#viewer-close").send_keys(Keys.ESCAPE)
    time.sleep(0.3)
    return True


def _fade(page: Browser, draw: np.random.Generator) -> bool:
    for _ in range(5):
        page.one("#fade").send_keys(draw.choice([Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.HOME]))
    return True


def _show(page: Browser, draw: np.random.Generator) -> bool:
    pressed = _any(page, draw, "#show")
    time.sleep(draw.random() * 3)
    return _any(page, draw, "#result summary") or pressed


def _send(page: Browser, draw: np.random.Generator) -> bool:
    """A picture of this computer."""
    page.one("#file").send_keys(str(ROOT / f"docs/images/{draw.choice(['page.png', 'report.png'])}"))
    time.sleep(1)
    return True


def _cancel(page: Browser, draw: np.random.Generator) -> bool:
    """Accept, and say no to the question; only where one is asked, what is fine has to stay as it is."""
    page.until(lambda: not page.all("#answer[aria-busy]"))
    if "you will be asked" not in page.text("#accept-why") or not _any(page, draw, "#accept"):
        return False
    page.one("#ask [data-answer=no]").click()
    return True


ACTS: tuple[Callable[[Browser, np.random.Generator], bool], ...] = (
    *(_front, _line, _log, _list, _list, _detector, _scroll, _scroll, _more, _write, _write, _phrases, _like, _like),
    *(_leave_out, _leave_out, _ask_words, _box, _box, _box, _fade, _show, _send, _cancel, _cancel),
)


PAINTED = """
const done = arguments[0];
const watch = new PerformanceObserver((list) => {
  const found = list.getEntries().find((one) => one.element?.tagName === 'IMG');
  if (found) done(found.renderTime);
});
watch.observe({ type: 'largest-contentful-paint', buffered: true });
"""
"""When the first picture is on the screen, in ms from the beginning of the navigation."""


def pictures(project: Path, count: int = 5) -> dict[str, Any]:
    """Seconds until the page that ``nand try`` wrote shows its first picture, each time in a new browser."""
    found = []
    for _ in range(count):
        with browser(f"file://{(project / '.nand/trial').resolve()}") as page:
            page.go("/index.html")
            found.append(page.driver.execute_async_script(PAINTED) / 1000)
            images = len(page.all(".change"))
    return {"images": images, "first picture": _summary(found)}


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
    for name in names:
        inbox = folder / "inspection/inbox" / name
        inbox.mkdir(parents=True)
        for path in sorted((folder / "data/demo" / name / "test").glob("*/00[0-5].png")):
            shutil.copy(path, inbox / f"{path.parent.name} {path.name}")
    said = made.call(sys.executable, "-m", "flows", "inspection", "inspection", "patchcore", "params.yaml", "0")
    assert said.returncode == 0, said.stderr[-2000:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("answers", "memory", "pictures", "large"))
    parser.add_argument("project", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--images", type=int, default=5000)
    given = parser.parse_args()
    if given.what == "large":
        large(given.project, given.images)
        return
    made = {"answers": answers, "memory": lambda project: memory(project, given.minutes), "pictures": pictures}
    print(json.dumps(made[given.what](given.project), indent=2))


if __name__ == "__main__":
    main()
