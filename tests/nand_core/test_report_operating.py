"""Operating points in the report, and the page of the normalities that hold now."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from test_report import CLASSES, DETECTORS, ODD, SETTINGS, Page, make_run

from nand_core.operating import OPERATING_COLUMNS, effect_rows, effect_table
from nand_core.report import ReportInputs, render_report
from nand_core.report.normalities import Described, render_normalities
from nand_core.settings import EvaluationSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[ReportInputs, dict[str, str]]:
    root = tmp_path_factory.mktemp("run")
    inputs = make_run(root)
    rng = np.random.default_rng(3)
    table = inputs.auroc[["detector", "class", "group"]].copy()
    for name in OPERATING_COLUMNS[3:]:
        table[name] = rng.integers(0, 100, len(table)).astype(float)
    table.loc[table.index[0], "accepted_after"] = np.nan
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
    points = inputs.operating.set_index(["detector", "class", "group"])
    for number, detector in enumerate(DETECTORS, start=1):
        header, *rows = page.cells(number)
        assert header[-2:] == ["accepted %", "retained %"]
        groups = [row for row in rows if "mean of its groups" not in row]
        wanted = [(name, group) for name in sorted(CLASSES) for group in CLASSES[name]]
        for row, where in zip(groups, wanted, strict=True):
            point = points.loc[(detector, *where)]
            for cell, rate in zip(row[-2:], ("accepted", "retained"), strict=True):
                assert cell == f"{share(point[f'{rate}_before'])} → {share(point[f'{rate}_after'])}"
        means = [row for row in rows if "mean of its groups" in row]
        assert [len(row) for row in means] == [11, 11]


def test_a_detectors_operating_point_is_told_in_a_sentence(run):
    text = " ".join(" ".join(Page(run[1]["report/index.html"]).texts).split())
    assert len(re.findall(r"At the threshold for 5 % false alarms, before → after: .*?accepted \d+ → \d+ %", text)) == 2
    assert text.count("With the threshold left as it was before: accepted") == 2


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_fixed_threshold_is_called_one(run, everywhere):
    first, other = DETECTORS
    one = dict.fromkeys(CLASSES, 2.5) if everywhere else {"carpet": 2.5}
    threshold = {first: one, other: 3} if everywhere else {first: one}
    inputs = dataclasses.replace(run[0], evaluation=EvaluationSettings(threshold=threshold))
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
    for detector in DETECTORS:
        header, _, *rows = run[1][f"tables/{detector}.md"].splitlines()
        assert header.endswith("| accepted % | retained % | false alarms % |")
        assert len({row.replace("\\|", "").count("|") for row in (header, *rows)}) == 1


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
