"""Detectors from elsewhere through the whole pipeline, and how often it encodes an image."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pipeline_project import CLASSES, PARAMS, ROOT
from sklearn.metrics import roc_auc_score

from flows.local_server import local_server
from flows.server import wait_for_server
from nand_core.datasets.demo import subjects
from nand_core.datasets.settings import DemoSettings

VERSION = "1.0"
# The whole pipeline in one process that counts what goes through the encoder.
COUNTED = """
    import json
    import sys
    from flows.__main__ import main
    from nand_core.vlm.encoder import VLM

    encode, counts = VLM.encode_images, []

    def counted(self, pixels):
        counts.append(len(pixels))
        return encode(self, pixels)

    VLM.encode_images = counted
    code = main(["pipeline"])
    print("encoded", json.dumps(counts))
    sys.exit(code)
"""


def documented(name: str) -> str:
    """The module that docs/detectors.md shows under this name."""
    blocks = (ROOT / "docs/detectors.md").read_text(encoding="utf-8").split("```")
    (code,) = (block.removeprefix("python\n") for block in blocks if block.startswith(f"python\n# {name}\n"))
    return code


def install(folder):
    """What pip would leave of a package with one entry point."""
    (folder / "bright_detector.py").write_text(documented("bright_detector.py"))
    info = folder / f"bright_detector-{VERSION}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bright-detector\nVersion: {VERSION}\n")
    (info / "entry_points.txt").write_text("[nand.detectors]\nbrightness = bright_detector:Brightness\n")


def peaks() -> dict[str, float]:
    """The maximum of every test image's saved map; those of good images are the lowest."""
    pictures = subjects(DemoSettings(**PARAMS["dataset"]["demo"]))
    tests = [subject for subject in pictures if subject.split == "test" and subject.class_name in CLASSES]
    return {str(s.image_path): 0.5 + i / 1000 + (s.defect != "good") for i, s in enumerate(tests)}


def anomaly_map(peak: float, size: int) -> np.ndarray:
    """Flat but for the left half."""
    array = np.full((size, 30), 0.25, np.float32)
    array[:, :15] = peak
    return array


def save_maps(folder: Path) -> None:
    """A map for every test image, of another size each."""
    for i, (image_id, peak) in enumerate(peaks().items()):
        path = (folder / image_id).with_suffix((".npy", ".tiff")[i % 2])
        path.parent.mkdir(parents=True, exist_ok=True)
        array = anomaly_map(peak, size=20 + i)
        if path.suffix == ".npy":
            np.save(path, array)
        else:
            Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def outcome(project, tmp_path_factory):
    """One run of april_gan, saved maps and a third party's detector."""
    packages = tmp_path_factory.mktemp("packages")
    install(packages)
    project.environment["PYTHONPATH"] = str(packages)
    project.params["detectors"] = {
        "april_gan": {"kind": "april_gan"},
        "saved": {"kind": "external", "maps": "saved"},
        "bright": {"kind": "plugin", "name": "brightness", "options": {"weight": 2.0}},
    }
    save_maps(project.folder / "saved")
    project.write_params()
    with local_server(project.folder / ".nand/prefect", project.environment) as url:
        wait_for_server(url)
        project.environment["PREFECT_API_URL"] = url
        said = project.call(sys.executable, "-c", textwrap.dedent(COUNTED))
        assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
        yield said.stdout


@pytest.fixture(scope="module")
def manifest(project, outcome) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "artifacts/manifest.parquet")


@pytest.fixture(scope="module")
def auroc(project, outcome) -> pd.DataFrame:
    return pd.read_parquet(project.folder / "results/auroc.parquet").set_index(["detector", "class", "group"])


def stored(project, detector, class_name):
    with np.load(project.folder / f"artifacts/base_maps/{detector}/{class_name}.npz", allow_pickle=False) as data:
        return dict(zip(data["ids"].tolist(), data["maps"], strict=True))


def test_each_image_is_encoded_exactly_once(outcome, manifest, auroc):
    counts = json.loads(outcome.rsplit("encoded ", 1)[1])
    tests = manifest[manifest["split"] == "test"]
    assert len(auroc.loc["april_gan"]) == 8
    assert sum(counts) == len(tests), "one encoding serves the base maps and all groups of a class"


def test_saved_maps_go_through_the_pipeline(project, manifest, auroc):
    known = peaks()
    for (class_name, group), row in auroc.loc["saved"].iterrows():
        found = stored(project, "saved", class_name)
        assert {one.shape for one in found.values()} == {(256, 256)}
        assert {path: one.max() for path, one in found.items()} == pytest.approx({path: known[path] for path in found})
        tests = manifest.set_index("path").loc[list(found)]
        truth = (tests["type"] != "good") & (tests["group"] != group)
        assert row["auroc_before"] == pytest.approx(100 * roc_auc_score(truth, [known[path] for path in found]))
        assert row["auroc_bound"] == 100, "the saved maps of all good images lie lowest"


def test_a_third_partys_detector_is_fitted_and_asked(project, manifest, auroc):
    assert len(auroc.loc["bright"]) == 8
    for class_name in CLASSES:
        rows = manifest[manifest["class"] == class_name]

        def grey(path):
            with Image.open(project.folder / "data/demo" / path) as image:
                return np.asarray(image.convert("RGB").convert("L"), dtype=np.float64)

        mean = np.mean([grey(path) for path in rows.loc[rows["split"] == "train", "path"]])
        found = stored(project, "bright", class_name)
        for path in rows.loc[rows["split"] == "test", "path"]:
            assert found[path].mean() == pytest.approx(2 * np.abs(grey(path) - mean).mean(), rel=1e-4)


def test_the_report_shows_every_detector(project, outcome):
    page = (project.folder / "results/report/index.html").read_text()
    metrics = json.loads((project.folder / "results/metrics.json").read_text())
    assert set(metrics) == {"april_gan", "saved", "bright"}
    assert all(name in page for name in metrics)


def test_an_extra_map_stops_the_stage_with_its_name(project, outcome):
    stray = project.folder / "saved/wood/test/good/extra.npy"
    np.save(stray, anomaly_map(0.5, size=20))
    said = project.call(sys.executable, "-m", "flows", "base_maps", "saved")
    assert said.returncode == 1 and "Traceback" not in said.stderr
    assert "saved/wood/test/good/extra.npy" in said.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def recorded(project, outcome):
    """The project with what it was made from in dvc.lock."""
    project.environment["PATH"] = f"{Path(sys.executable).parent}:{project.environment['PATH']}"
    info = Path(project.environment["PYTHONPATH"]) / "torchvision-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 1.0\n")
    (project.folder / "saved/wood/test/good/extra.npy").unlink(missing_ok=True)
    for command in (("flows", "inputs"), ("dvc", "commit", "--force", "--quiet", "dvc.yaml")):
        said = project.call(sys.executable, "-m", *command)
        assert said.returncode == 0, said.stdout + said.stderr
    assert why(project) == {}
    return project


def why(project) -> dict[str, list[str]]:
    """What ``nand why`` says, by stage."""
    said = project.call(sys.executable, "-m", "nand", "why")
    assert said.returncode == 0, said.stderr
    found: dict[str, list[str]] = {}
    for line in said.stdout.splitlines():
        if not line.startswith("nothing changed"):
            stage, _, reason = line.partition(": ")
            found.setdefault(stage, []).append(reason)
    return found


DETECTORS = ("base_maps@april_gan", "base_maps@saved", "base_maps@bright")
SAVED, BRIGHT = DETECTORS[1:2], DETECTORS[2:]
ENCODING = ("examples", "text_features", *DETECTORS[::2], "suppression", "evaluate", "report")


def more(content: bytes) -> bytes:
    return content + b"\n"


def raised(content: bytes) -> bytes:
    return content.replace(b"Version: 1.0", b"Version: 1.1")


def heavier(content: bytes) -> bytes:
    return content.replace(b"weight: 2.0", b"weight: 3.0")


@pytest.mark.parametrize(
    ("touched", "edit", "stages", "reason"),
    [
        ("saved/carpet/test/hole/001.npy", more, SAVED, "saved/carpet/test/hole/001.npy changed"),
        ("nand_core/report/tables.py", more, ("report",), "nand_core.report.tables"),
        ("nand_core/report/templates/style.css", more, ("report",), "nand_core/report/templates/style.css"),
        ("nand_core/vlm/embedded/linear.safetensors", more, ENCODING, "embedded/linear.safetensors changed"),
        ("bright_detector.py", more, BRIGHT, "bright_detector.py changed"),
        ("bright_detector-1.0.dist-info/METADATA", raised, BRIGHT, "bright-detector 1.0 bright.* → 1.1 bright.*"),
        ("torchvision-1.0.dist-info/METADATA", raised, DETECTORS, "torchvision 1.0 → 1.1"),
        ("params.yaml", heavier, (*BRIGHT, "evaluate", "report"), "detectors.bright.options.weight: 2.0 → 3.0"),
    ],
)
def test_what_is_touched_starts_its_stages_and_no_others(recorded, touched, edit, stages, reason):
    packages = Path(recorded.environment["PYTHONPATH"])
    path = next(folder / touched for folder in (recorded.folder, packages) if (folder / touched).exists())
    before = path.read_bytes()
    path.write_bytes(edit(before))
    try:
        found = why(recorded)
    finally:
        path.write_bytes(before)
    assert set(found) == set(stages)
    assert all(any(re.fullmatch(reason, line) for line in lines) for lines in found.values()), found


def test_a_bare_dvc_repro_takes_maps_that_were_saved_again(recorded):
    one, other = (recorded.folder / f"saved/wood/test/{name}" for name in ("good/000.npy", "scratch/000.npy"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    try:
        said = recorded.dvc("repro")
        again = recorded.dvc("repro")
    finally:
        one.write_bytes(first)
        other.write_bytes(second)
    assert said.returncode == again.returncode == 0, said.stderr
    ran = [re.findall(r"Running stage '(.+)'", output.stdout) for output in (said, again)]
    assert ran == [["inputs", "base_maps@saved", "evaluate", "report"], ["inputs"]]
    scores = pd.read_parquet(recorded.folder / "results/scores.parquet").query("detector == 'saved'")
    before = scores.drop_duplicates("id").set_index("id")["score_before"]
    known = peaks()
    swapped = "wood/test/good/000.png", "wood/test/scratch/000.png"
    assert [before[path] for path in swapped] == pytest.approx([known[path] for path in reversed(swapped)])


def test_what_a_removed_detector_left_is_gone(recorded):
    lock, params = recorded.folder / "dvc.lock", dict(recorded.params["detectors"])
    before = lock.read_text()
    assert "\n  base_maps@saved:\n" in before and (recorded.folder / "artifacts/base_maps/saved").is_dir()
    del recorded.params["detectors"]["saved"]
    recorded.write_params()
    said = recorded.call(sys.executable, "-m", "flows", "inputs")
    recorded.params["detectors"] = params
    recorded.write_params()
    assert said.returncode == 0, said.stderr
    start = before.index("  base_maps@saved:\n")
    end = re.search(r"^  \S", before[start + 1 :], re.MULTILINE)
    assert lock.read_text() == before[:start] + (before[start + 1 + end.start() :] if end else "")
    assert not (recorded.folder / "artifacts/base_maps/saved").exists()
    assert not (recorded.folder / "artifacts/inputs/base_maps/saved.json").exists()
