"""``nand add --like`` in a repository of its own: what it changes, what it leaves out, and that it is taken back.

And the protocol for normality by example: its table, and what a changed k computes.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import torch
from browser import Browser, browser, programs
from pipeline_project import PARAMS, Project
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from benchmarks.scratch import last_run
from flows.inbox.rows import write_part
from flows.local_server import local_server
from flows.server import wait_for_server
from nand.page.draft import Draft
from nand.page.server import Server
from nand_core.artifacts.store import sha256_file
from nand_core.report.strips import strip_name
from nand_core.verdict import VERDICTS

NAND = (sys.executable, "-m", "nand")
SHOWN = ("data/demo/wood/test/hole/000.png", "data/demo/wood/test/hole/001.png")
WORDS = ("wood", "fuzz ok", "--like", *SHOWN)
ADD = ("add", *WORDS)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """One class, one detector, a few images; its first results are there."""
    params = json.loads(json.dumps(PARAMS))
    params["dataset"]["classes"] = ["wood"]
    del params["detectors"]["patchcore"]
    params["evaluation"]["examples"] = {"images": [1], "draws": 2}
    made = Project(tmp_path_factory.mktemp("project"), params)
    made.create()
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        wait_for_server(url)
        made.environment["PREFECT_API_URL"] = url
        said = made.pipeline()  # in one process, as dvc would start one for each stage
        assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
        assert made.dvc("commit", "--force", "--quiet").returncode == 0
        made.commit("results")
        yield made


@pytest.fixture(scope="module")
def first(project) -> tuple[dict[str, str], str]:
    return project.digests(), (project.folder / "params.yaml").read_text()


def nand(project: Project, *arguments: str) -> str:
    said = project.call(*NAND, *arguments)
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    return said.stdout


@pytest.fixture(scope="module")
def refused(project, first) -> list[subprocess.CompletedProcess]:
    """Without --from-test."""
    return [project.call(*NAND, *ADD)]


@pytest.fixture(scope="module")
def tried(project, refused) -> tuple[str, dict[str, str], str]:
    said = nand(project, "try", *WORDS, "--from-test")
    return said, project.digests(), (project.folder / "params.yaml").read_text()


def foresee(project: Project, draft: dict) -> pd.DataFrame:
    """The rows of ``results/normalities.parquet`` that the page computes for a draft."""
    threads = torch.get_num_threads()  # the project's runs have one, and so has the page
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        torch.set_num_threads(1)
        try:
            *_, last = Server().look(Draft.model_validate({"class": "wood", **draft}), "april_gan", live=False)
        finally:
            torch.set_num_threads(threads)
    return last.effect.reset_index(drop=True)


@pytest.fixture(scope="module")
def foreseen_examples(project, tried) -> tuple[pd.DataFrame, pd.DataFrame]:
    """By the page, and by ``nand try``."""
    shown = [{"source": "test", "key": sha256_file(project.folder / name)[:16]} for name in SHOWN]
    return foresee(project, {"text": WORDS[1], "like": shown}), pd.read_parquet(
        project.folder / ".nand/trial/effect.parquet"
    )


@pytest.fixture(scope="module")
def added(project, first, foreseen_examples) -> str:
    return nand(project, *ADD, "--from-test", "--yes")


@pytest.fixture(scope="module")
def after(project, added) -> tuple[dict[str, str], pd.DataFrame]:
    return project.digests(), pd.read_parquet(project.folder / "results/normalities.parquet")


@pytest.fixture(scope="module")
def listed(project, after) -> str:
    project.environment["COLUMNS"] = "200"
    return nand(project, "list")


@pytest.fixture(scope="module")
def removed(project, listed) -> str:
    return nand(project, "undo", "1")


def test_a_test_image_is_refused_in_one_line_and_nothing_is_changed(project, first, refused):
    (said,) = refused
    assert said.returncode == 1
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"error: {SHOWN[0]}: is in the test set") and "--from-test" in line


def test_trying_images_changes_nothing(first, tried):
    said, *left = tried
    assert "wood: if 'fuzz ok' were normal (nothing is changed):" in said
    assert "to make it so: nand add wood 'fuzz ok' --like" in said
    assert tuple(left) == first


def test_the_page_foresees_of_examples_what_nand_try_does(foreseen_examples):
    found, tried = foreseen_examples
    pd.testing.assert_frame_equal(found, tried.reset_index(drop=True), check_exact=True)


def test_the_examples_are_left_out_of_the_effect(added, after):
    files, effect = after
    assert "wood: 'fuzz ok' is normal now (2 examples)" in added
    assert "left out of what is counted, as examples of it: 2 of the test images" in added
    ids = set(effect["id"])
    assert len(ids) == len(effect) and not ids & {name.removeprefix("data/demo/") for name in SHOWN}
    assert "wood/test/hole/002.png" in ids
    assert len([name for name in files if name.startswith("artifacts/examples/wood/")]) == 2


def test_nothing_of_the_protocol_changes(first, after):
    changed = {name for name, digest in after[0].items() if first[0].get(name) != digest}
    examples = {name for name in changed if name.startswith("artifacts/examples/wood/")}
    rows = after[1][after[1]["alarm_before"] != after[1]["alarm_after"]]
    pictures = {f"results/report/changes/wood/april_gan/{strip_name(path)}" for path in rows["id"]}
    assert changed - examples == pictures | {
        "artifacts/suppression/wood/fuzz_ok.npz",
        "results/normalities.parquet",
        "results/report/normalities.html",
    }


def test_the_list_shows_it(listed):
    assert re.search(r"wood +│ fuzz ok +│ 2 examples +│ like 000.png, 001.png +│ examples", listed)


def test_removing_it_leaves_every_byte_as_before(project, first, removed):
    assert "wood: 'fuzz ok' is no longer normal" in removed and "entry 1 is undone: nand log wood" in removed
    assert (project.digests(), (project.folder / "params.yaml").read_text()) == first
    assert not list((project.folder / "artifacts/examples").iterdir())
    assert project.changed() == {}


def test_a_run_that_fails_leaves_no_file_of_it(project, first, removed):
    """Refused once it is encoded: an image that shows nothing unusual."""
    said = project.call(*NAND, "add", "wood", "plain", "--like", "data/demo/wood/test/good/000.png", "--from-test")
    assert said.returncode == 1 and "Traceback" not in said.stderr
    assert "shows nothing that the good images of 'wood' do not" in said.stderr
    assert "params.yaml is as it was" in said.stderr
    assert (project.folder / "params.yaml").read_text() == first[1]
    assert not list((project.folder / "artifacts/examples").iterdir())


def test_what_was_removed_is_put_back_with_its_images_out_of_the_cache(project, after, removed):
    """No commit ever had them."""
    assert "wood: 'fuzz ok' is normal now (2 examples)" in nand(project, "undo", "2")
    assert project.digests() == after[0]
    assert not (project.folder / ".nand/examples_back").exists()
    entries = [json.loads(line) for line in (project.folder / "normalities.jsonl").read_text().splitlines()]
    assert [(one["id"], one["action"], one.get("undoes")) for one in entries] == [
        (1, "add", None),
        (2, "remove", 1),
        (3, "add", 2),
    ]
    assert [one["image"][17:] for one in entries[2]["like"]] == ["000.png", "001.png"]
    for name in ("like", "asked", "effect", "lost"):
        assert entries[2][name] == entries[0][name]
    assert entries[0]["effect"]["april_gan"]["hole"]["images"] == 1, "the examples are not counted"


# The page, in a browser: "fuzz ok" holds.
NAMED = "loose zorkly fibre"


@pytest.fixture(scope="module")
def page(project, after, removed) -> Iterator[Browser]:
    """``nand page`` of the project, in a browser."""
    programs()
    place = {"cwd": project.folder, "env": project.environment}
    process = subprocess.Popen([*NAND, "page", "--port", "0"], stdout=subprocess.PIPE, text=True, **place)
    try:
        address = re.search(r"http://localhost:\d+", process.stdout.readline())[0]
        with browser(address) as window:
            yield window
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def looked(page) -> Callable[[], str]:
    """Waits for an answer to what was typed or clicked; what it says."""

    def wait() -> str:
        page.until(lambda: page.all("#answer:not([hidden], [aria-busy])") and not page.all("#result.old"))
        return page.text("#answer")

    return wait


@pytest.fixture(scope="module")
def foreseen(project, page) -> pd.DataFrame:
    """Before it is accepted."""
    return foresee(project, {"text": NAMED, "strength": 0.9})


@pytest.fixture(scope="module")
def before_page(project, page) -> tuple[str, dict[str, str]]:
    return (project.folder / "params.yaml").read_text(), project.digests()


def test_the_page_shows_the_rejected_first_with_where_they_are(page, before_page):
    page.go("/")
    assert page.text("h1") == "What does the detector reject?" and "Fine from now on: fuzz ok" in page.text(".card")
    page.go("/c/wood")
    names = [one.get_attribute("data-name") for one in page.all("#tiles .open")]
    assert page.text(".lists [aria-current]") == f"Rejected {len(names)}" and len(names) > 4
    page.until(lambda: page.script("return [...document.querySelectorAll('#tiles img')].every(i => i.naturalWidth)"))
    page.script("const fade = document.getElementById('fade'); fade.value = 0; fade.dispatchEvent(new Event('input'))")
    opacity = "return getComputedStyle(document.querySelector('#tiles .over')).opacity"
    assert page.script(opacity) == "0"
    assert page.one("#accept").get_attribute("disabled") and page.text("#accept-why") == "First say what is fine."


def test_what_is_typed_is_answered_with_the_words_that_mean_nothing(page, looked):
    page.type("#text", NAMED)
    said = looked()
    assert page.text("#words mark") == page.text("mark") == "zorkly"
    assert f"If “{NAMED}” were fine" in said and "The model does not know: zorkly" in said
    assert len(page.all("#result svg")) == 2 and page.all("#result svg .limit")
    page.script("document.querySelector('#result summary').focus(); document.getElementById('show').click()")
    looked()
    assert page.script("return document.activeElement.tagName") == "SUMMARY", "an answer leaves the focus alone"


def test_images_are_clicked_and_a_box_is_drawn(page, looked):
    page.click("#tiles .tile:nth-child(1) .like")
    assert page.one("#tiles .tile:nth-child(1) .like").get_attribute("aria-pressed") == "true"
    page.until(lambda: not page.text("#words"))  # they are a name now
    page.click("#tiles .tile:nth-child(2) .open")
    page.until(lambda: page.one("#viewer-image").is_displayed() and page.script("return document.activeElement.id"))
    stage = page.one("#stage")
    page.until(lambda: stage.size["height"] > 100)
    page.until(lambda: page.script("return document.getElementById('viewer-image').naturalWidth"))
    ActionChains(page.driver).move_to_element_with_offset(stage, -40, -40).click_and_hold().move_by_offset(
        80, 60
    ).release().perform()
    given = [int(page.one(f"#box-{side}").get_attribute("value")) for side in "xywh"]
    assert given[0] > 0 and given[1] > 0 and 1 < given[3] < given[2] < 128 and page.one("#frame").is_displayed()
    page.type("#box-w", "9999")
    assert "has to lie within 128 × 128 pixels" in page.text("#box-problem")
    page.type("#box-w", str(given[2]))
    assert page.text("#viewer-like") == "What is in the box is fine"
    page.click("#viewer-like")
    assert [one.text for one in page.all("#chosen li span")] == ["fine", "fine, in a box"]
    assert "2 of the images that you chose are test images" in looked()
    for _ in range(2):
        page.click("#chosen .remove")
    assert not page.all("#chosen li")


def test_a_rejected_image_of_the_line_becomes_an_example_with_one_click(project, page, looked):
    shot, folder, key = project.folder / "data/demo/wood/test/scratch/000.png", project.folder / "inspection", "5" * 16
    for path in (folder / f"done/wood/{key}-shot 7.png", folder / f"overlays/wood/{key}.webp"):
        path.parent.mkdir(parents=True)
        shutil.copy(shot, path)
    scores = {f"{what}_{when}": 2.0 for what in ("score", "threshold") for when in ("before", "after")}
    row = {"name": "shot 7.png", "id": key, "time": datetime.now(UTC), "detector": "april_gan", "alarm_after": True}
    write_part(folder / "rows/wood", [row | scores])
    page.go("/line")
    assert page.text("h2") == "wood: 1 of 1 images rejected" and "shot 7.png" in page.text("li.tile")
    page.click("li.tile a.like")
    page.until(lambda: page.all("#chosen li.like"))
    said = looked()  # beside what was typed before, which is kept
    assert f"If “{NAMED}” were fine" in said and "1 of the images that you chose is a test image" in said
    page.click("#chosen .remove")
    assert not page.all("#chosen li")


def test_alarms_are_not_lost_unasked_and_a_second_user_loses_nothing(project, page, looked, before_page, foreseen):
    """No first, then yes; meanwhile somebody else has a draft."""
    page.type("#text", NAMED)
    page.one("#strength").send_keys(Keys.ARROW_LEFT)
    assert page.text("#strength-says") == "90 %"
    page.type("#who", "Ada of the line")
    assert "would be let through. Is that what you mean?" in looked()
    page.until(lambda: page.one("#accept").is_enabled())
    page.click("#accept")
    asked = page.until(lambda: page.text("#ask"))
    assert "would be let through" in asked and f"Is that what “{NAMED}” means?" in asked
    page.click("#ask [data-answer=no]")
    assert json.loads(page.script("return fetch('/state').then(a => a.text())"))["work"] is None
    assert (project.folder / "params.yaml").read_text() == before_page[0]

    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("window")
    page.go("/c/wood")
    page.type("#text", "dark stain")
    looked()
    second = page.driver.current_window_handle
    page.driver.switch_to.window(first)

    page.click("#accept")
    page.click("#ask [data-answer=yes]")
    page.until(lambda: "being" in page.text("#work"))
    page.until(lambda: NAMED in page.text(".held"))
    assert page.one("#text").get_attribute("value") == "", "what was accepted is no draft any more"
    assert f"wood: “{NAMED}”: done" in page.text("#work")

    page.driver.switch_to.window(second)
    page.until(lambda: "What is fine has changed meanwhile. What you entered is kept." in page.text("#meanwhile"))
    assert page.one("#text").get_attribute("value") == "dark stain" and "If “dark stain” were fine" in looked()
    page.driver.close()
    page.driver.switch_to.window(first)


def test_what_the_page_accepted_is_what_nand_add_writes(project, page, before_page):
    entry = json.loads((project.folder / "normalities.jsonl").read_text().splitlines()[-1])
    assert (entry["action"], entry["text"], entry["who"]) == ("add", NAMED, "Ada of the line")
    assert entry["lost"]["april_gan"] > 0 and entry["strength"] == 0.9
    assert NAMED in (project.folder / "params.yaml").read_text()
    assert project.changed() == {}


def test_the_pages_figures_are_those_that_nand_add_then_writes(project, page, foreseen):
    """Bit for bit, of a text beside examples."""
    accepted = pd.read_parquet(project.folder / "results/normalities.parquet")
    pd.testing.assert_frame_equal(foreseen, accepted.reset_index(drop=True), check_exact=True)


def test_it_is_undone_in_the_log(project, page, before_page):
    page.go("/log")
    assert "Ada of the line" in page.text(".log li")
    page.click(".log li .undo")
    page.until(lambda: "“loose zorkly fibre” taken back" in page.text(".log li h2"))
    assert ((project.folder / "params.yaml").read_text(), project.digests()) == before_page


def test_nothing_left_the_machine_and_nothing_was_refused_by_the_browser(page):
    assert page.requests() == {urlsplit(page.page).netloc}
    assert page.complaints() == []


# The protocol. Its settings change last.
GROUPS = 4


@pytest.fixture(scope="module")
def rows(project, after) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "results/examples.parquet")


@pytest.fixture(scope="module")
def more(project, rows) -> tuple[pd.DataFrame, dict[str, int]]:
    """Two images shown as well: the table, and what was computed for it."""
    project.params["evaluation"]["examples"] = {"images": [1, 2], "draws": 2}
    project.write_params()
    project.environment["NAND_RUN_ID"] = "more"
    said = project.call(sys.executable, "-m", "flows", "evaluate")
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    computed = {name: row["executed"] for name, row in last_run(project.folder).items() if row["executed"]}
    return pd.read_parquet(project.folder / "results/examples.parquet"), computed


def test_every_group_and_draw_has_a_row(project, rows):
    assert len(rows) == GROUPS * 2 and set(rows["images"]) == {1} and set(rows["draw"]) == {0, 1}
    figures = [name for name in rows if name.startswith(("auroc", "accepted", "retained"))]
    assert rows[figures].to_numpy().min() >= 0 and rows[figures].to_numpy().max() <= 100
    assert (rows["n_normal"] == 4 + 3 - 1).all()  # the good images and the group's, less the one that is shown


def test_the_bound_and_the_text_are_those_of_the_protocol_without_the_shown_images(project, rows):
    auroc = pd.read_parquet(project.folder / "results/auroc.parquet").set_index("group")
    for row in rows.to_dict("records"):
        assert row["auroc_bound"] == auroc.loc[row["group"], "auroc_bound"]  # the group has no part in it
    assert not np.allclose(rows["auroc_after"], rows["auroc_before"])


def test_the_figures_stand_in_the_metrics_and_on_the_page(project, rows):
    metrics = json.loads((project.folder / "results/metrics.json").read_text())
    assert metrics["april_gan"]["examples"]["1"]["gain"] == pytest.approx(
        (rows["auroc_after"] - rows["auroc_before"]).mean()
    )
    counts = metrics["april_gan"]["examples"]["1"]["verdict"]
    assert counts == {name.replace(" ", "_"): int((rows["verdict"] == name).sum()) for name in VERDICTS}
    assert "| april_gan | 1 |" in (project.folder / "results/tables/examples.md").read_text()
    assert "Told by examples" in (project.folder / "results/report/index.html").read_text()


def test_another_number_of_images_computes_its_own_draws_alone(rows, more):
    table, computed = more
    pd.testing.assert_frame_equal(table[table["images"] == 1].reset_index(drop=True), rows)
    assert set(table["images"]) == {1, 2}
    # A draw of two images holds the one of a single one: only the others are looked at for the first time.
    assert computed.keys() <= {"example_patches", "example_scores"}
    # A map a draw, but one for draws of the same images, and the scores of each group.
    assert GROUPS * 2 <= computed["example_scores"] <= GROUPS * 2 + GROUPS
