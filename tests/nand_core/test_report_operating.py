"""Operating points in the report, and the page of the normalities that hold now."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_report import CLASSES, DETECTORS, ODD, SETTINGS, Page, make_run

from nand_core.example_protocol import EXAMPLE_COLUMNS, example_table
from nand_core.operating import OPERATING_COLUMNS, effect_rows, effect_table
from nand_core.report import ReportInputs, render_report
from nand_core.report.normalities import Described, render_normalities
from nand_core.report.page import tone
from nand_core.settings import EvaluationSettings, ReportSettings
from nand_core.verdict import PASS, counted, in_words

NO_GALLERY = ReportSettings(gallery=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[ReportInputs, dict[str, str]]:
    root = tmp_path_factory.mktemp("run")
    inputs = make_run(root)
    rng = np.random.default_rng(3)
    table = inputs.auroc[["detector", "class", "group"]].copy()
    for name in OPERATING_COLUMNS[4:]:
        table[name] = rng.integers(0, 100, len(table)).astype(float)
    table["verdict"] = ["harms", "works", "helps", "no effect", "works", "works", "no effect", "harms"]
    table.loc[table.index[0], "accepted_after"] = np.nan
    # Where AUROC gains most, alarms are lost.
    inputs.auroc.loc[0, ["auroc_before", "auroc_after"]] = 60.0, 95.0
    inputs.auroc.to_parquet(root / "results/auroc.parquet")
    table.to_parquet(root / "results/operating.parquet")
    free = root / "artifacts/prompts/carpet/loose_fibre.json"
    free.write_text('{"class": "carpet", "group": "loose fibre", "phrases": ["free text"], "provider": "rules"}')
    inputs = ReportInputs.read(root / "artifacts", root / "results", root / "data", evaluation=inputs.evaluation)
    return inputs, render_report(inputs, SETTINGS)


def share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f}"


def test_every_group_has_its_acceptance_and_retention_beside_its_auroc(run):
    inputs, files = run
    page = Page(files["report/index.html"])
    assert not page.open
    points = inputs.operating.set_index(["detector", "class", "group"]).sort_index()
    for number, detector in enumerate(DETECTORS, start=1):
        header, *rows = page.cells(number)
        assert header[1:5] == ["verdict", "accepted %", "retained %", "lost %"]
        assert header.index("AUROC before") == 6  # behind the chart
        groups = [row for row in rows if "mean of its groups" not in row]
        wanted = [(name, group) for name in sorted(CLASSES) for group in CLASSES[name]]
        for row, where in zip(groups, wanted, strict=True):
            point = points.loc[(detector, *where)]
            assert (row[0], row[1], row[4]) == (where[1], point["verdict"], f"{point['lost']:.1f}")
            for cell, rate in zip(row[2:4], ("accepted", "retained"), strict=True):
                assert cell == f"{share(point[f'{rate}_before'])} → {share(point[f'{rate}_after'])}"
        means = [row for row in rows if "mean of its groups" in row]
        assert [len(row) for row in means] == [13, 13]  # a cell over two columns
        for row, name in zip(means, sorted(CLASSES), strict=True):
            counts = counted(points.loc[(detector, name), "verdict"])
            assert row[1] == in_words(counts)
    summary = page.cells(0)
    assert summary[0][1] == "verdict"
    for row, detector in zip(summary[1:], DETECTORS, strict=True):
        assert row[1] == in_words(counted(points.loc[detector]["verdict"]))


def test_what_harms_is_not_shown_as_a_gain(run):
    """+35 AUROC stand beside lost alarms: the word comes first, and it alone gives the colour."""
    inputs, files = run
    html = files["report/index.html"]
    page = Page(html)
    row = next(row for row in page.cells(1) if row[0] == "cut")
    assert row[1] == "harms" and row[8] == "+35.0"
    charts = [a["class"].split()[1] for tag, a in page.tags if tag == "svg" and "role" in a]
    of_groups = [tone(verdict) for verdict in inputs.operating["verdict"]]
    assert set(charts) <= {"works", "helps", "no-effect", "harms"}
    # The summary's two, then of each detector each class's and its groups'; the class with the odd name comes first.
    assert charts[6:8] == of_groups[:2] and charts[3:5] == of_groups[2:4]
    assert charts[5] == "harms", "works and harms once each"
    assert not {"better", "worse"} & {name for _, a in page.tags for name in (a.get("class") or "").split()}
    assert "better" not in " ".join(page.texts[page.texts.index("Summary") :])


def test_each_verdict_is_a_word_with_a_colour_for_light_and_dark(run):
    html = run[1]["report/index.html"]
    assert {"works", "helps", "no-effect", "harms"} == set(re.findall(r'class="verdict ([\w-]+)"', html))
    style = html[html.index("<style>") : html.index("</style>")]
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in style.split("@media", 2)[:2])
    for colours in (light, dark):
        shades = [colours[name] for name in ("works", "helps", "same", "worse")]
        assert len(set(shades)) == 4
        assert all(contrast(shade, colours[ground]) >= 4.5 for shade in shades for ground in ("page", "band"))


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2; text can be read from 4.5 on."""
    def luminance(colour: str) -> float:
        linear = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in linear]
        return float(np.dot([0.2126, 0.7152, 0.0722], parts))

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_the_gallery_tells_the_verdict_before_the_auroc(run):
    texts = " ".join(" ".join(Page(run[1]["report/index.html"]).texts).split())
    assert "carpet / cut april_gan harms AUROC +35.0" in texts
    assert "Accepted: images" not in texts, "the score of an image can fall and the alarm stay"


def test_the_rule_is_told_with_the_numbers_that_were_used(run):
    def said(evaluation: EvaluationSettings) -> str:
        changed = replace(run[0], evaluation=evaluation)
        return " ".join(" ".join(Page(render_report(changed, NO_GALLERY)["report/index.html"]).texts).split())

    text = said(EvaluationSettings(lost_alarms=0.03, regions={"none": 0.15, "whole": 0.45}, alpha=0.5))
    assert f"at least {PASS:g} % of the group’s images pass" in text and "more than 3 % of all other anomalies" in text
    assert "Up to 0.15 the region stays as it is, from 0.45 on it falls by the share" in text
    assert "the median of the scores of the class’s good test images" in text and "Eq. 6" not in text
    text = said(EvaluationSettings(regions=None))
    assert "Eq. 6" in text and "good level" not in text


def test_examples_are_told_with_the_verdict_of_each_draw(run):
    row = dict.fromkeys(EXAMPLE_COLUMNS, 50.0) | {"detector": "april_gan", "class": "carpet", "group": "cut"}
    rows = [row | {"images": 5, "draw": i, "verdict": word} for i, word in enumerate(("works", "harms", "works"))]
    files = render_report(replace(run[0], examples=example_table(rows)), NO_GALLERY)
    page = Page(files["report/index.html"])
    table = next(page.cells(i) for i in range(len(page.tables)) if "images shown" in page.cells(i)[0])
    assert table[0][:6] == ["detector", "images shown", "verdict of each draw", "accepted %", "retained %", "lost %"]
    assert table[1][:6] == ["april_gan", "5", "2 works, 1 harms", "50 → 50", "50 → 50", "50.0"]
    assert "| april_gan | 5 | 2 works, 1 harms | 50 to 50 |" in files["tables/examples.md"]


def test_a_detectors_operating_point_is_told_in_a_sentence(run):
    text = " ".join(" ".join(Page(run[1]["report/index.html"]).texts).split())
    assert len(re.findall(r"At the threshold for 5 % false alarms, before → after: .*?accepted \d+ → \d+ %", text)) == 2
    assert text.count("With the threshold left as it was before: accepted") == 2


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_fixed_threshold_is_called_one(run, everywhere):
    first, other = DETECTORS
    one = dict.fromkeys(CLASSES, 2.5) if everywhere else {"carpet": 2.5}
    threshold = {first: one, other: 3} if everywhere else {first: one}
    inputs = replace(run[0], evaluation=EvaluationSettings(threshold=threshold))
    page = Page(render_report(inputs, SETTINGS.model_copy(update={"gallery": 0}))["report/index.html"])
    text = " ".join(" ".join(page.texts).split())
    assert not page.open and "A fixed threshold is one that the settings give" in text
    assert text.count("At the fixed threshold, before → after") == (2 if everywhere else 0)
    kept = text.count("With the threshold left as it was before: accepted")
    if everywhere:
        assert "% false alarms" not in text and "set on the good test images" not in text and kept == 0
    else:
        assert "At the threshold for 5 % false alarms, a fixed one for carpet, before → after" in text
        assert "Any other threshold on the score is set on the good test images" in text and kept == 2


def test_the_tables_have_them_too(run):
    first = "verdict | accepted % | retained % | lost % | AUROC before |"
    for detector in DETECTORS:
        header, _, *rows = run[1][f"tables/{detector}.md"].splitlines()
        assert header.startswith(f"| class | group | {first}") and header.endswith("| false alarms % |")
        assert len({row.replace("\\|", "").count("|") for row in (header, *rows)}) == 1


    assert "| carpet | cut | harms |" in run[1]["tables/april_gan.md"]
    header, _, *rows = run[1]["tables/summary.md"].splitlines()
    assert header.startswith(f"| detector | {first}")
    assert [row.split(" | ")[1] for row in rows] == [
        "1 works, 1 helps, 1 no effect, 1 harms", "2 works, 1 no effect, 1 harms",
    ]  # fmt: skip


def test_prompts_that_the_protocol_does_not_use_are_not_on_its_page(run):
    assert "free text" not in run[1]["report/index.html"]
    assert 'href="normalities.html"' in run[1]["report/index.html"]


@pytest.fixture(scope="module")
def effect(run) -> pd.DataFrame:
    parts = []
    for class_name in CLASSES:
        rows = run[0].manifest[run[0].manifest["class"] == class_name]
        before = np.arange(len(rows), dtype=float)
        settings = EvaluationSettings(false_alarm=0.3)
        parts += [effect_rows(detector, rows, ["cut"], before, before / 2, settings) for detector in DETECTORS]
    return effect_table(*parts)


def test_the_page_of_what_is_normal_now(effect):
    prompt = {"phrases": ["grey <fuzz>"], "provider": "openai", "model": "writer"}
    held = [
        Described("carpet", "cut", "cut", {"phrases": ["cut mark"], "provider": "curated", "model": None}),
        Described("carpet", "<b>fuzz", "", prompt, ("fuzz",)),
        Described(ODD, "oil spot", "", prompt),
    ]
    page = Page(render_normalities(held, effect, 0.05))
    assert not page.open and not {tag for tag, _ in page.tags} & {"script", "fuzz", "iframe"}
    texts = " ".join(" ".join(page.texts).split())
    assert "Words that the text encoder does not know: fuzz" in texts and "openai · writer" in texts
    assert "grey <fuzz>" in texts and "at most 5 % of new good images" in texts
    tables = [page.cells(i) for i in range(len(page.tables))]
    kinds = [table for table in tables if table[0][0] == "images of"]
    assert len(kinds) == 2 * len(DETECTORS)
    carpet = kinds[-1] if any("cut" in row[0] for row in kinds[-1]) else kinds[0]
    assert [row[0].split()[0] for row in carpet[1:]] == ["cut", "thread", "good"]
    assert carpet[1][0] == "cut normal now" and carpet[1][1] == "3"
    every = [table for table in tables if table[0][0] == "image"]
    assert sum(len(table) - 1 for table in every) == len(effect)
    targets = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert all(target.startswith(("#", "data:")) or target == "index.html" for target in targets)


@pytest.mark.parametrize("everywhere", [True, False])
def test_the_page_of_normalities_calls_a_fixed_threshold_one(run, everywhere):
    rows = run[0].manifest[run[0].manifest["class"] == "carpet"]
    before, settings = np.arange(len(rows), dtype=float), EvaluationSettings(threshold={DETECTORS[0]: 2.5})
    judged = DETECTORS[:1] if everywhere else DETECTORS
    table = effect_table(
        *(effect_rows(one, rows, ["cut"], before, before / 2, settings.for_(one, "carpet")) for one in judged)
    )
    held = [Described("carpet", "cut", "cut", None)]
    page = Page(render_normalities(held, table, 0.05, [(DETECTORS[0], "carpet"), (DETECTORS[1], "other")]))
    text = " ".join(" ".join(page.texts).split())
    assert not page.open and text.count("Its threshold is fixed at 2.5.") == 1
    assert ("Other thresholds are set on good test images" in text) is not everywhere
    assert ("at most 5 % of new good images" in text) is not everywhere
    heads = [page.cells(i)[0] for i in range(len(page.tables))]
    kinds = ["at the threshold from before" in head for head in heads if head[0] == "images of"]
    assert kinds == ([False] if everywhere else [False, True])


def test_the_page_without_a_normality_says_how_to_add_one():
    page = render_normalities([], effect_table(), 0.05)
    assert 'nand add CLASS "TEXT"' in page.replace("&#34;", '"') and not Page(page).open
