"""Images behind ``nand add``: how they are named, what is refused, what is written and listed."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from typer.testing import CliRunner

from flows.add_normality import ImageFile
from nand.cli.app import app
from nand.cli.effect import show_effect
from nand.cli.examples import given, spread
from nand.project.change import Effect
from nand.project.examples import EXAMPLES, Examples, Given, placed
from nand.project.plans import addition, removal
from nand_core.artifacts.store import sha256_file
from nand_core.config import load_params
from nand_core.errors import NandError
from nand_core.normalities import Normality
from nand_core.operating import effect_rows
from nand_core.settings import EvaluationSettings

VALUED = {"--like", "--unlike", "--box", "--mask", "--phrase"}
PARAMS = """\
dataset: {kind: folder, root: data}
prompts:  # nobody reads this
  provider: auto
detectors:
  april_gan: {kind: april_gan}
suppression:
  examples: {images: 3}
"""
GROUPS = {"carpet": ("thread",), "wood": ()}
IN_DATA = {
    "carpet/train/good/000.png": 1,
    "carpet/test/thread/000.png": 2,
    "carpet/test/good/000.png": 3,
    "carpet/test/hole/000.png": 10,
    "wood/train/good/000.png": 11,
    "wood/test/good/000.png": 12,
    "wood/test/knot/000.png": 4,
    "wood/test/scratch/000.png": 13,
}


def draw(path: str | Path, seed: int, size: tuple[int, int] = (32, 24)) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: str, size: tuple[int, int] = (32, 24), value: int = 255) -> Path:
    picture = Image.new("L", size)
    picture.paste(value, (4, 4, 12, 12))
    picture.save(path)
    return Path(path)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A small data set with its manifest, three images beside it, and masks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.yaml").touch()
    rows = []
    for path, seed in IN_DATA.items():
        class_name, split, kind, _ = path.split("/")
        row = {"class": class_name, "type": kind, "group": "", "split": split, "path": path}
        rows.append(row | {"sha256": sha256_file(draw(f"data/{path}", seed)), "width": 32, "height": 24})
    Path("artifacts").mkdir()
    pd.DataFrame(rows).to_parquet("artifacts/manifest.parquet", index=False)
    for name, seed in (("a.png", 5), ("B b!.PNG", 6), ("c.png", 7), ("d.png", 8)):
        draw(name, seed)
    draw("big.png", 9, (64, 24))
    Path("same.png").write_bytes(Path("a.png").read_bytes())
    Path("text.png").write_text("no image")
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:200])
    Path("a.dat").write_bytes(Path("a.png").read_bytes())
    mask("mask.png"), mask("empty.png", value=0), mask("wide.png", (33, 24))
    return tmp_path


def plan(line: str, name: str = "fuzz ok"):
    """What ``nand add carpet NAME`` and the rest of the ``line`` would change."""
    options = {"--like": [], "--unlike": [], "--phrase": []}
    made = spread(["carpet", name, *shlex.split(line)], VALUED)[2:]
    for one in made:
        option, _, value = one.partition("=")
        options.get(option, []).append(value)
    examples = Examples(given(options["--like"]), given(options["--unlike"]), "--from-test" in made)
    params = load_params(Path("params.yaml"))
    phrases = options["--phrase"]
    return addition(params, GROUPS, "carpet", name, phrases, examples=examples, ask="--ask" in made,
                    force="--force" in made)  # fmt: skip


def written(line: str):
    """The entry in the file that it makes, and the file."""
    text = plan(line).edit(PARAMS)
    Path("params.yaml").write_text(text)
    load_params(Path("params.yaml"))
    return yaml.safe_load(text)["prompts"]["normalities"]["carpet"], text


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("c n", "c n"),
        ("c several words", "c several words"),
        ("c n --phrase x y", "c n --phrase x y"),
        ("c n --like a b --phrase x", "c n --like=a --like=b --phrase x"),
        ("c n --like a --like b", "c n --like=a --like=b"),
        ("c n --like=a b --unlike=d", "c n --like=a --like=b --unlike=d"),
        ("c n --like a --box 1,2,3,4 b", "c n --like=a --like=--box=1,2,3,4 --like=b"),
        ("c n --like a --unlike b --mask m --ask", "c n --like=a --unlike=b --unlike=--mask=m --ask"),
        ("c n --like a --ask --box=1,2,3,4", "c n --like=a --ask --like=--box=1,2,3,4"),
        ("--like a b --ask c n", "--like=a --like=b --ask c n"),
        ("--like a b --phrase x c n", "--like=a --like=b --phrase x c n"),
        ("--like a b -- c -n", "--like=a --like=b -- c -n"),
        ("--like a --help", "--like=a --help"),
        ("--phrase=x --like=a --unlike=b --ask -- c n", "--phrase=x --like=a --unlike=b --ask -- c n"),
    ],
)
def test_each_image_gets_its_option(line, made):
    assert spread(line.split(), VALUED) == made.split()


def test_a_box_or_mask_is_that_of_the_image_before_it():
    found = given(["a", "--box=1,2,3,4", "b", "c", "--mask=m"])
    assert found == (Given(Path("a"), box="1,2,3,4"), Given(Path("b")), Given(Path("c"), mask=Path("m")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("carpet n --like", r"--like: names nothing"),
        ("carpet n --like --ask", r"--like: names nothing"),
        ("carpet n --like a.png --box", r"--box: names nothing; write X,Y,W,H"),
        ("carpet n --box 1,2,3,4 --like a.png", r"--box 1,2,3,4: no image before it"),
        ("carpet n --mask m.png", r"--mask m.png: no image before it"),
        ("carpet --like a.png n", r"no name for what they show; .*nand add CLASS NAME --like IMAGE"),
        ("carpet n --like a.png --box 1,2,3,4 --mask m.png", r"a.png: has more than one box or mask"),
        ("carpet n --like a.png --box 1,2,3,4 --box 1,2,3,5", r"a.png: has more than one box or mask"),
        ("carpet loose fibre --like a.png", r"2 words without quotes; .*: nand add carpet 'loose fibre'"),
        ("carpet loose fibre", r"2 words without quotes; .*: nand add carpet 'loose fibre'"),
    ],
)
def test_a_line_that_cannot_be_meant_is_one_error(project, line, message):
    done = CliRunner().invoke(app, ["add", *line.split()])
    assert done.exit_code == 1
    (said,) = done.stderr.splitlines()
    assert re.match(f"error: {message}", said), said


def test_the_help_shows_every_option(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    said = CliRunner().invoke(app, ["add", "--help"]).output
    for option in ("--like", "--unlike", "--box", "--mask", "--ask", "--from-test", "--phrase"):
        assert re.search(rf"{option}\b", said)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--like none.png", r"none.png: no such file"),
        ("--like text.png", r"text.png: is no PNG, JPEG"),
        ("--like cut.png", r"cut.png: cannot be read"),
        ("--like data", r"data: cannot be read"),
        ("--like a.dat", r"a.dat: its name does not end in \.bmp"),
        ("--like a.png same.png", r"same.png: is the same image as a.png; give it once"),
        ("--like a.png --unlike a.png", r"a.png: is the same image as a.png"),
        ("--like a.png 'B b!.PNG' c.png --unlike d.png", r"4 examples, but suppression.examples.images allows 3"),
        ("--like a.png --box 1,2,3", r"a.png: --box 1,2,3: write X,Y,W,H"),
        ("--like a.png --box 1,2,x,4", r"a.png: --box 1,2,x,4: write X,Y,W,H"),
        ("--like a.png --box -1,2,3,4", r"a.png: --box -1,2,3,4: write X,Y,W,H"),
        ("--like a.png --box 1,2,0,4", r"a.png: --box 1,2,0,4: is empty"),
        ("--like a.png --box 1,2,32,4", r"a.png: --box 1,2,32,4: leaves the image \(32 x 24 pixels\)"),
        ("--like a.png --mask none.png", r"none.png: no such file"),
        ("--like a.png --mask wide.png", r"wide.png: the mask is 33 x 24 but its image is 32 x 24"),
        ("--like a.png --mask empty.png", r"empty.png: marks nothing"),
        ("--like big.png", r"big.png: is 64 x 24 pixels, but every image of 'carpet' is 32 x 24"),
        ("--like data/wood/test/knot/000.png", r".*: is an image of another class, 'wood'"),
        ("--like data/carpet/train/good/000.png --from-test", r".*: is normal already, one of the good"),
        ("--unlike data/carpet/train/good/000.png", r".*: is normal already"),
        ("--like data/carpet/test/thread/000.png", r".*000.png: is in the test set .*; with --from-test it is used"),
        ("--unlike data/carpet/test/good/000.png", r".*000.png: is in the test set"),
    ],
)
def test_what_is_no_example_is_refused_by_name(project, line, message):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with pytest.raises(NandError, match=f"^{message}") as caught:
        plan(line)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_images_that_are_in_the_test_set_are_counted(project):
    assert plan("--like data/carpet/test/thread/000.png a.png --from-test").tests == 1


def test_an_image_that_the_manifest_alone_knows_is_no_reason_to_refuse(project):
    moved = Path("data/carpet/test/thread/000.png").rename("moved.png")
    assert plan(f"--like {moved}").tests == 0
    Path("artifacts/manifest.parquet").unlink()
    assert plan("--like data/carpet/test/good/000.png").tests == 0


def test_what_stands_in_the_file(project):
    digits = {name: sha256_file(Path(name))[:16] for name in ("a.png", "B b!.PNG", "c.png", "mask.png")}
    entries, text = written("--like a.png --box 1,2,3,4 'B b!.PNG' --unlike c.png --mask mask.png --phrase='grey fuzz'")
    (entry,) = entries
    assert entry == {
        "fuzz ok": {
            "like": [{"image": f"{digits['a.png']}-a.png", "box": [1, 2, 3, 4]}, f"{digits['B b!.PNG']}-B_b_.png"],
            "unlike": [{"image": f"{digits['c.png']}-c.png", "mask": f"{digits['mask.png']}-mask.png"}],
            "phrases": ["grey fuzz"],
        }
    }
    (line,) = [line for line in text.splitlines() if "fuzz ok" in line]
    assert line.startswith("      - fuzz ok: {like: [{image: ") and "prompts:  # nobody reads this\n" in text
    with pytest.raises(NandError, match="'fuzz ok' is normal already"):
        plan("--like d.png")
    assert removal(load_params(Path("params.yaml")), GROUPS, "carpet", "Fuzz OK").edit(text) == PARAMS


def test_a_name_is_asked_about_if_that_is_said_or_there_are_no_images_of_it(project):
    assert not plan("--like a.png").normality.asked
    assert plan("--like a.png --ask").normality.asked and plan("--like a.png --phrase=hole").normality.asked
    assert plan("--unlike a.png").normality.asked and plan("").normality.asked
    ((entry,), _) = written("--like a.png --ask")
    assert entry["fuzz ok"]["ask"] is True


@pytest.mark.parametrize(
    ("said", "name", "shown"),
    [
        ("", "царапина", "'царапина': the text encoder knows none of its words (царапина)"),
        ("", "缺陷", "'缺陷': the text encoder knows none of its words (缺陷)"),
        ("", "Riß on carpet", "'Riß on carpet': the text encoder knows none of its words (riß)"),
        ("--like a.png --ask", "Gribble", "'Gribble': the text encoder knows none of its words (gribble)"),
        ("--phrase=царапина --phrase='缺陷 on carpet'", "hole", "'hole': the text encoder knows none of its words"),
    ],
)
def test_a_text_of_which_nothing_is_understood_is_refused_unless_forced(project, said, name, shown):
    with pytest.raises(NandError, match=r"^nand add carpet: ") as caught:
        plan(said, name)
    assert shown in str(caught.value) and "force it with --force" in str(caught.value)
    change = plan(f"{said} --force", name)
    params = Path("params.yaml")
    params.write_text(change.edit(params.read_text()))
    assert change.normality.force and load_params(params).prompts.normalities["carpet"][-1].force
    assert f"{name.lower()}: {{" in params.read_text() and "force: true}" in params.read_text()


def test_a_strength_is_written_unless_it_is_the_whole_one(project):
    params = load_params(Path("params.yaml"))
    half, whole = (addition(params, GROUPS, "carpet", "faint mark", (), strength=one) for one in (0.5, 1.0))
    assert "faint mark: {strength: 0.5}" in half.edit(PARAMS) and half.normality.strength == 0.5
    assert "strength" not in whole.edit(PARAMS)
    for none in (0.0, 1.1, float("nan")):
        with pytest.raises(NandError, match=r"--strength \S+: give more than 0 and at most 1"):
            addition(params, GROUPS, "carpet", "faint mark", (), strength=none)


def test_a_name_of_images_a_text_half_understood_and_one_for_byte_pairs_are_taken(project):
    assert not plan("--like a.png", "царапина").normality.asked
    assert not plan("", "Riß hole").normality.force and not plan("--force", "hole").normality.group
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text + "encoder: {model: ViT-B-32, pretrained: openai}\n")
    assert plan("", "царапина").normality.asked


def test_a_group_by_examples_is_that_group(project):
    made = plan("--like a.png", "Thread").normality
    assert made.group == made.text == "thread" and made.apart and not made.asked


def test_the_copies_have_the_same_bytes_and_their_names_are_kept(project):
    change = plan("--like a.png --mask mask.png")
    with placed(change.files):
        pass
    target, marks = change.files
    assert target.read_bytes() == Path("a.png").read_bytes()
    assert marks.read_bytes() == Path("mask.png").read_bytes()
    assert list(plan(f"--like {target}").files) == [target]


def test_what_a_failed_run_leaves_of_the_files(project):
    """The stage has removed what an earlier normality has; the new ones are there."""
    old = plan("--like a.png")
    with placed(old.files):
        Path("params.yaml").write_text(old.edit(PARAMS))
    (kept,) = old.files
    new = plan("--like a.png c.png", "other")
    with pytest.raises(KeyboardInterrupt), placed(new.files):
        kept.unlink()
        raise KeyboardInterrupt
    assert [path for path in EXAMPLES.rglob("*") if path.is_file()] == [kept]
    assert kept.read_bytes() == Path("a.png").read_bytes()


@pytest.mark.parametrize("how", [Path.unlink, lambda path: draw(path, 99)])
def test_an_image_that_changed_since_it_was_checked_is_refused(project, how):
    change = plan("--like a.png c.png")
    how(Path("c.png"))
    with pytest.raises(NandError, match=r"^c\.png: (is gone|was changed) since it was checked"), placed(change.files):
        pytest.fail("nothing may run")
    assert not list(EXAMPLES.rglob("*"))


def test_the_list_says_what_there_is_of_each(project):
    params = Path("params.yaml")
    written("--like a.png 'B b!.PNG'")
    params.write_text(plan("--like a.png --unlike c.png --ask", "Dent").edit(params.read_text()))
    params.write_text(plan("--like a.png", "thread").edit(params.read_text()))
    Path("artifacts/suppression/carpet").mkdir(parents=True)
    Path("artifacts/suppression/carpet/fuzz_ok.npz").touch()
    shown = CliRunner().invoke(app, ["list"])
    assert shown.exit_code == 0, shown.output
    said = re.sub(" +", " ", shown.output)
    assert "│ carpet │ fuzz ok │ 2 examples │ like a.png, B_b_.png │ examples │" in said
    assert "│ carpet │ dent │ text and 1 example, 1 unlike │ like a.png; unlike c.png │ to be run: nand repro │" in said
    assert "│ carpet │ thread │ labelled group by 1 example │ like a.png │" in said


def effect(left_out: int) -> pd.DataFrame:
    """Eight good images and four threads, the first of these left out."""
    kinds = ["good"] * 8 + ["thread"] * (4 - left_out)
    names = [*range(8), *range(left_out, 4)]
    rows = pd.DataFrame(
        {
            "class": "carpet",
            "type": kinds,
            "group": ["" if kind == "good" else kind for kind in kinds],
            "path": [f"carpet/test/{kind}/{name:03}.png" for kind, name in zip(kinds, names, strict=True)],
        }
    )
    scores = np.where(rows["type"] == "good", 0.1, 1.0)
    return effect_rows("a", rows, ["thread"], scores, scores * (0.9 if left_out else 1), EvaluationSettings())


@pytest.mark.parametrize("added", [True, False])
def test_the_effect_compares_what_is_counted_both_times(added):
    before, after = (effect(0), effect(2)) if added else (effect(2), effect(0))
    out = io.StringIO()
    one, settings = Normality("carpet", "thread", "thread", (), "thread"), EvaluationSettings()
    show_effect(Console(file=out, width=120), one, Effect(before, after), settings, added=added)
    assert re.search(r"thread \(normal now\) +│ +2 │ +2 │ +2 │", out.getvalue()), out.getvalue()
    assert re.search(r"good +│ +8 │", out.getvalue())


@pytest.mark.parametrize("path", ["a.png", "inbox/line 1/Übung.jpg", "a/-b.png"])
def test_a_deployment_takes_paths_within_the_checkout(path):
    assert TypeAdapter(ImageFile).validate_python(path) == path


@pytest.mark.parametrize("path", ["", "-a.png", "/etc/a.png", "../a.png", "a/../../b.png", "a/", "a\\b", "a\nb"])
def test_a_deployment_takes_no_other_paths(path):
    with pytest.raises(ValidationError):
        TypeAdapter(ImageFile).validate_python(path)
