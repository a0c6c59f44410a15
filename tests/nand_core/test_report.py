"""The report: what the page, the tables and the plots' data say of a small synthetic run."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nand_core.artifacts.store import sha256_file
from nand_core.errors import NandError
from nand_core.protocol import aggregate, evaluate_group, score_rows, share
from nand_core.report import ReportInputs, render_report, write_report
from nand_core.report.gallery import most_changed, most_spoiled
from nand_core.report.page import Axis
from nand_core.report.paper import paper_numbers
from nand_core.settings import EvaluationSettings, ReportSettings

ODD = "<b>&\"it's|`"  # a class of this name is a folder that a user may have
CLASSES = {"carpet": ["cut", "thread"], ODD: ["oil", "rough"]}
DETECTORS = ["april_gan", "patchcore"]
SIZE = 16
EVALUATION = EvaluationSettings(bootstrap=30)
SETTINGS = ReportSettings(gallery=2, panel=32)


def make_run(root: Path) -> ReportInputs:
    """A run on disk: 3 good images and 3 of each group, 24 x 16 px, with seeded maps."""
    rng = np.random.default_rng(7)
    rows, scores, auroc = [], [], []
    for name, groups in CLASSES.items():
        for kind in ["good", *groups]:
            for i in range(3):
                path = f"{name}/test/{kind}/{i:03}.png"
                mask = "" if kind == "good" or i == 2 else f"{name}/ground_truth/{kind}/{i:03}_mask.png"
                save(root / "data" / path, rng.integers(0, 255, (16, 24, 3), dtype=np.uint8))
                if mask:
                    save(root / "data" / mask, np.pad(np.full((6, 6), 255, np.uint8), ((4, 6), (6, 12))))
                group = "" if kind == "good" else kind
                digests = [sha256_file(root / "data" / one) if one else "" for one in (path, mask)]
                rows.append((name, kind, group, "test", path, mask, *digests, 24, 16))
    columns = ["class", "type", "group", "split", "path", "mask", "sha256", "mask_sha256", "width", "height"]
    manifest = pd.DataFrame(rows, columns=columns)
    for detector in DETECTORS:
        for name, groups in CLASSES.items():
            own = manifest[manifest["class"] == name]
            maps = rng.random((len(own), SIZE, SIZE), dtype=np.float32)
            save_maps(root / "artifacts/base_maps" / detector / f"{name}.npz", maps, own["path"])
            for group in groups:
                seen = rng.random((len(own), SIZE, SIZE), dtype=np.float32)
                save_maps(root / "artifacts/suppression" / name / f"{group}.npz", seen, own["path"])
                before, after = maps.max((1, 2)), (maps * (1 - seen)).max((1, 2))
                scores.append(score_rows(detector, own, group, before, after))
                wrong = {"": before, **{other: maps.min((1, 2)) for other in groups if other != group}}
                auroc.append(evaluate_group(detector, own, group, before, after, wrong, EVALUATION))
                prompt = {
                    "class": name, "group": group,
                    "phrases": [f"{group} mark", "<i>odd</i>"], "provider": "rules",
                    "model": "", "instruction": "", "parameters": {}, "time": "2024-01-01T00:00:00",
                }  # fmt: skip
                path = root / "artifacts/prompts" / name / f"{group}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(prompt))
    (root / "results").mkdir()
    manifest.to_parquet(root / "artifacts/manifest.parquet")
    pd.DataFrame(auroc).to_parquet(root / "results/auroc.parquet")
    pd.concat(scores).to_parquet(root / "results/scores.parquet")
    return ReportInputs.read(
        root / "artifacts",
        root / "results",
        root / "data",
        evaluation=EVALUATION,
        facts={"Encoder": "a tower of <script>alert(1)</script>"},
        notes=["The images are generated."],
        unknown_words={("carpet", "cut"): ["zork"]},
    )


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_maps(path: Path, maps: np.ndarray, ids: pd.Series) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, maps=maps, ids=np.array(list(ids)))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[ReportInputs, dict[str, str]]:
    inputs = make_run(tmp_path_factory.mktemp("run"))
    return inputs, render_report(inputs, SETTINGS)


class Page(HTMLParser):
    """The page as a browser reads it: tags with attributes, text, and the tables' cells."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "line", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def cells(self, table: int) -> list[list[str]]:
        return [[" ".join(cell.split()) for cell in row] for row in self.tables[table]]


def test_the_tables_hold_every_groups_numbers(run):
    inputs, files = run
    page = Page(files["report/index.html"])
    assert not page.open
    for number, detector in enumerate(DETECTORS, start=1):
        table = inputs.auroc[inputs.auroc["detector"] == detector]
        rows = [row for row in page.cells(number)[1:] if "mean of its groups" not in row]
        assert len(rows) == len(table) == 4
        for row, want in zip(rows, table.sort_values(["class", "group"]).to_dict("records"), strict=True):
            gain = want["auroc_after"] - want["auroc_before"]
            numbers = [float(re.search(r"[-+]?\d+\.\d", cell.replace("−", "-"))[0]) for cell in row[2:5]]
            assert row[0] == want["group"]
            assert numbers == [round(want["auroc_before"], 1), round(want["auroc_after"], 1), round(gain, 1)]
            assert ("worse" in row[4]) == (gain < -0.5)
            low, high = (float(value) for value in row[8].replace("−", "-").split(" to "))
            part = share(want["auroc_before"], want["auroc_after"], want["auroc_bound"])
            assert row[5:7] == [f"{want['auroc_bound']:.1f}", "–" if np.isnan(part) else f"{part:.0f}"]
            assert float(row[7].replace("−", "-")) == round(want["auroc_after"] - want["auroc_wrong"], 1)
            assert (low, high) == (round(want["gain_low"], 1), round(want["gain_high"], 1))
            assert row[9] == f"{want['n_normal']} / {want['n_abnormal']}"


def test_the_summary_holds_the_detectors_means(run):
    inputs, files = run
    rows = Page(files["report/index.html"]).cells(0)[1:]
    for row, (detector, want) in zip(rows, aggregate(inputs.auroc).items(), strict=True):
        assert row[0] == detector
        assert [row[2], row[3]] == [f"{want['auroc_before']:.1f}", f"{want['auroc_after']:.1f}"]
        assert row[5] == f"{want['auroc_bound']:.1f}"
        assert row[6] == ("–" if want["share"] is None else f"{want['share']:.0f}")
        assert float(row[7].replace("−", "-")) == round(want["text_effect"], 1)
        assert int(row[8].split("·")[2]) == want["groups_worse"]
        assert sum(map(int, row[8].split("·"))) == want["groups"]


def test_the_bound_is_a_mark_on_the_chart_and_the_best_wrong_text_is_named(run):
    inputs, files = run
    page = Page(files["report/index.html"])
    marks = [float(a["x1"].rstrip("%")) for tag, a in page.tags if a.get("class") == "bound" and "%" in a["x1"]]
    axis = Axis.over(inputs.auroc)
    assert {axis.x(bound) for bound in inputs.auroc["auroc_bound"]} <= set(marks)
    assert len(marks) == len(DETECTORS) * (1 + len(CLASSES) + 4)
    titles = [a["title"] for tag, a in page.tags if tag == "td" and "title" in a]
    ordered = inputs.auroc.sort_values(["detector", "class", "group"])
    assert titles == [f"best wrong text: {wrong}" for wrong in ordered["wrong"]]
    texts = " ".join(" ".join(page.texts).split())
    assert all(f"“{name}” is" in texts for name in ("Bound", "Share", "Text effect"))


def test_what_is_not_known_is_a_dash(run):
    inputs, _ = run
    bare = ReportInputs(**{**vars(inputs), "auroc": inputs.auroc.assign(auroc_bound=np.nan)})
    files = render_report(bare, ReportSettings(gallery=0))
    page = Page(files["report/index.html"])
    assert {tuple(row[5:7]) for table in (0, 1, 2) for row in page.cells(table)[1:]} == {("–", "–")}
    assert "| – | – |" in files["tables/summary.md"].splitlines()[2]
    assert not [a for _, a in page.tags if a.get("class") == "bound" and "%" in a["x1"]]


def test_the_page_refers_to_nothing_outside(run):
    page = Page(run[1]["report/index.html"])
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form"}
    targets = [
        a[key] for _, a in page.tags for key in ("src", "href", "srcset", "data", "action") if key in a
    ]
    assert targets and all(target.startswith(("#", "data:")) for target in targets)
    assert not re.search(r"url\(|@import|https?://", run[1]["report/index.html"])
    anchors = {a["id"] for _, a in page.tags if "id" in a}
    assert {target[1:] for target in targets if target.startswith("#")} <= anchors


def test_names_and_texts_are_escaped(run):
    html = run[1]["report/index.html"]
    page = Page(html)
    assert not {"b>&", "i", "script"} & {tag for tag, _ in page.tags}
    texts = " ".join(page.texts)
    assert f"{ODD} / oil" in texts
    assert "<i>odd</i>" in texts
    assert "<script>alert(1)</script>" in texts
    assert all("it's" not in key for _, attributes in page.tags for key in attributes)


def test_the_page_tells_what_was_run_and_asked(run):
    texts = " ".join(" ".join(Page(run[1]["report/index.html"]).texts).split())
    assert "The images are generated." in texts
    assert "cut mark" in texts and "rules" in texts
    assert "Words that the text encoder does not know: zork" in texts
    assert "2024" not in texts.replace("2407.19849", "")  # the time of a prompt would change the page's bytes


def test_the_same_inputs_give_the_same_bytes(run, tmp_path):
    inputs, files = run
    assert render_report(inputs, SETTINGS) == files
    shuffled = ReportInputs(
        **{
            **vars(inputs),
            "auroc": inputs.auroc.sample(frac=1, random_state=1),
            "scores": inputs.scores.sample(frac=1, random_state=1),
            "prompts": inputs.prompts[::-1],
        }
    )
    again = render_report(shuffled, SETTINGS)
    assert again["tables/summary.md"] == files["tables/summary.md"]
    assert again["plots/auroc.csv"] == files["plots/auroc.csv"]
    assert again["report/index.html"] == files["report/index.html"]


def test_the_gallery_shows_the_images_that_changed_most(run):
    inputs, files = run
    shown = re.findall(r"<code>([^<]*)</code>", files["report/index.html"])
    own = inputs.scores[
        (inputs.scores["detector"] == "april_gan")
        & (inputs.scores["class"] == "carpet")
        & (inputs.scores["group"] == "cut")
    ]
    fall = own["score_before"] - own["score_after"]
    group = own[own["type"] == "cut"].assign(fall=fall).sort_values("fall", ascending=False)
    other = own[own["type"] == "thread"].assign(part=fall / own["score_before"])
    other = other.sort_values("part", ascending=False)
    # the class with the odd name sorts before carpet: its 2 groups of 2 detectors come first
    first = 2 * 2 * 4
    assert shown[first : first + 4] == [*group["id"].head(2), *other["id"].head(2)]
    assert len(shown) == 2 * first


def test_only_falls_of_the_score_are_shown():
    scores = pd.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e"],
            "label": [0, 0, 1, 1, 1],
            "score_before": [2.0, 2.0, 4.0, 1.0, 0.0],
            "score_after": [1.0, 2.0, 3.0, 0.5, 0.0],
        }
    )
    groups = dict.fromkeys("ab", "cut") | dict.fromkeys("cde", "hole")
    assert list(most_changed(scores, "cut", groups, 9)["id"]) == ["a"]
    assert list(most_spoiled(scores, 9)["id"]) == ["d", "c"]
    assert list(most_spoiled(scores, 1)["id"]) == ["d"]


def test_panels_are_small_pictures_with_the_images_shape(run):
    page = Page(run[1]["report/index.html"])
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert {a["alt"] for a in pictures} == {"image", "mask", "A", "A_sup", "A_final"}
    assert "no mask" in " ".join(page.texts)
    for attributes in pictures:
        content = base64.b64decode(attributes["src"].removeprefix("data:image/webp;base64,"))
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "WEBP"
            assert picture.size == (int(attributes["width"]), int(attributes["height"])) == (24, 16)


def test_markdown_tables_parse(run):
    inputs, files = run
    for detector in DETECTORS:
        table = inputs.auroc[inputs.auroc["detector"] == detector].sort_values(["class", "group"])
        header, rule, *rows = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in files[f"tables/{detector}.md"].splitlines()
        ]
        figures = ["AUROC before", "after", "gain", "bound", "share %", "text effect"]
        assert header == ["class", "group", *figures, "best wrong text", "95 % interval of the gain"]
        assert all(re.fullmatch("-+:?", cell) for cell in rule)
        assert [row[1] for row in rows] == list(table["group"])
        assert [float(row[2]) for row in rows] == list(table["auroc_before"].round(1))
        assert [float(row[5]) for row in rows] == list(table["auroc_bound"].round(1))
        assert [float(row[7]) for row in rows] == list((table["auroc_after"] - table["auroc_wrong"]).round(1) + 0.0)
        assert [row[8].split()[0] for row in rows] == list(table["wrong"])
        assert rows[0][0] == "&lt;b&gt;&amp;\"it's\\|`"
    assert [line.split("|")[1].strip() for line in files["tables/summary.md"].splitlines()[2:]] == DETECTORS


def test_plot_data_are_the_tables(run):
    inputs, files = run
    frame = pd.read_csv(io.StringIO(files["plots/auroc.csv"]))
    table = inputs.auroc.sort_values(["detector", "class", "group"])
    assert list(frame.columns) == ["detector", "class_group", "before", "after", "gain"]
    assert list(frame["class_group"]) == list(table["class"] + "/" + table["group"])
    assert frame["gain"].to_numpy() == pytest.approx((table["auroc_after"] - table["auroc_before"]), abs=1e-4)
    parts = [pd.read_csv(io.StringIO(files[f"plots/gain/{detector}.csv"])) for detector in DETECTORS]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame)


def test_write_report_replaces_what_lay_there(run, tmp_path):
    inputs, files = run
    for stale in ("tables/gone.md", "plots/gain/gone.csv"):
        (tmp_path / stale).parent.mkdir(parents=True)
        (tmp_path / stale).write_text("old")
    (tmp_path / "auroc.parquet").write_text("not the report's")
    assert write_report(tmp_path, inputs, SETTINGS) == tmp_path / "report/index.html"
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(files) | {"auroc.parquet"}
    assert (tmp_path / "report/index.html").read_bytes() == files["report/index.html"].encode()


def test_a_failure_leaves_the_last_report(run, tmp_path):
    inputs, _ = run
    page = write_report(tmp_path, inputs, SETTINGS)
    before = page.read_bytes()
    broken = ReportInputs(**{**vars(inputs), "artifacts": tmp_path / "nowhere"})
    with pytest.raises(NandError, match=r"base_maps.*npz"):
        write_report(tmp_path, broken, SETTINGS)
    assert page.read_bytes() == before
    with pytest.raises(NandError, match="no group"):
        write_report(tmp_path, ReportInputs(**{**vars(inputs), "auroc": inputs.auroc.head(0)}), SETTINGS)


def test_read_names_the_missing_table(tmp_path):
    with pytest.raises(NandError, match=r"manifest\.parquet"):
        ReportInputs.read(tmp_path, tmp_path, tmp_path)


def test_no_gallery_reads_no_map(run):
    inputs, _ = run
    bare = ReportInputs(**{**vars(inputs), "artifacts": Path("nowhere")})
    html = render_report(bare, ReportSettings(gallery=0))["report/index.html"]
    assert "<img" not in html and "#gallery" not in html


def paper_run(drop: int = 0) -> pd.DataFrame:
    path = Path(__file__).parents[2] / "nand_core/report/paper/table2_april_gan.csv"
    table = pd.read_csv(path).iloc[drop:]
    table = table.assign(auroc_bound=99.0, auroc_wrong=table["auroc_before"], wrong="nonsense")
    return pd.concat([table.assign(detector=d) for d in ("april_gan", "mine")])


def test_the_papers_numbers_stand_beside_its_own_groups_only():
    paper = paper_numbers("mvtec_ad", paper_run())
    assert len(paper.groups) == 56
    assert paper.groups["april_gan", "leather", "fold"] == (94.8, 80.1)
    assert paper.detectors == {"april_gan": (70.6, 75.1)}
    part = paper_numbers("mvtec_ad", paper_run(drop=1))
    assert (len(part.groups), part.detectors) == (55, {})
    other = paper_numbers("folder", paper_run())
    assert (other.groups, other.detectors) == ({}, {})


def test_the_page_shows_the_papers_numbers(run):
    inputs, _ = run
    table = paper_run().assign(gain_low=0.0, gain_high=1.0, n_normal=9, n_abnormal=9)
    beside = ReportInputs(**{**vars(inputs), "auroc": table, "dataset_kind": "mvtec_ad"})
    page = Page(render_report(beside, ReportSettings(gallery=0))["report/index.html"])
    assert page.cells(0)[1][-1] == "70.6 → 75.1"
    assert page.cells(0)[2][-1] == "–"
    assert [row[-1] for row in page.cells(1) if row[0] == "fold"] == ["94.8 → 80.1 (−14.7)"]
    assert "paper" not in page.cells(2)[0]
