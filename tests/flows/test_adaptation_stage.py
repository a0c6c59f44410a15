"""Heads of a class: killed and gone on, the same bytes on other threads, and no test image looked at; centres."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import torch
from pipeline_project import PARAMS, Project
from safetensors.torch import load_file

from benchmarks.scratch import executed, kill_group, last_run
from flows.local_server import local_server
from flows.server import wait_for_server
from nand_core.artifacts.store import sha256_file
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.settings import EncoderSettings

HEADS = "artifacts/heads/carpet.safetensors"
PARAMS = PARAMS | {
    "dataset": PARAMS["dataset"] | {"classes": ["carpet"]},
    "encoder": {"device": "cpu", "adapt": {"pictures": 100, "steps": 20}},
}


def stage(project: Project, *arguments: str) -> subprocess.CompletedProcess:
    project.write_params()
    said = project.call(sys.executable, "-m", "flows", *arguments)
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr[-2000:]
    return said


@pytest.fixture(scope="module")
def adapted(tmp_path_factory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"), PARAMS)
    made.create()
    with local_server(made.folder / ".nand/prefect", made.environment) as url:
        wait_for_server(url)
        made.environment["PREFECT_API_URL"] = url
        for name in ("demo_data", "dataset"):
            stage(made, name)
        made.write_params()
        kill_midway(made)
        stage(made, "adaptation")
        yield made


def kill_midway(project: Project) -> None:
    """Start the stage and end it with SIGKILL once a first item is done."""
    process = project.start(sys.executable, "-m", "flows", "adaptation")
    records = project.folder / ".nand/store/records"
    end = time.monotonic() + 120
    while not list(records.glob("drawn_patches-*")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    kill_group(process)
    assert not (project.folder / HEADS).exists()


def test_what_was_finished_before_the_kill_is_not_computed_again(adapted):
    stages = last_run(adapted.folder)
    assert stages["drawn_patches"]["items"] == 4 and 0 < stages["drawn_patches"]["executed"] < 4
    assert stages["adaptation"]["executed"] == 3  # two heads, and their committee


def test_other_threads_and_workers_give_the_same_bytes(adapted, tmp_path):
    other = Project(tmp_path / "other", PARAMS | {"run": {"workers": 1}})
    other.create()
    shutil.copytree(adapted.folder / "data", other.folder / "data")
    other.environment |= {"OMP_NUM_THREADS": "2", "PREFECT_API_URL": adapted.environment["PREFECT_API_URL"]}
    for name in ("dataset", "adaptation"):
        stage(other, name)
    assert sha256_file(other.folder / HEADS) == sha256_file(adapted.folder / HEADS)


def test_no_test_image_is_looked_at(adapted):
    before = sha256_file(adapted.folder / HEADS)
    for path in (adapted.folder / "data/demo/carpet/test").rglob("*.png"):
        path.write_bytes(b"not an image")
    said = stage(adapted, "adaptation")
    assert not executed(said.stdout + said.stderr) and sha256_file(adapted.folder / HEADS) == before


def test_the_heads_fit_the_encoder_and_leave_its_encodings_alone(adapted):
    vlm = load_vlm(EncoderSettings(device="cpu"))
    other = vlm.adapted(adapted.folder / HEADS)
    tokens = torch.zeros(1, 3, 3, vlm.widths[0])
    assert len(other.linear) == len(vlm.layers)
    assert other.linear[0](tokens).shape == vlm.linear[0](tokens).shape == (1, 3, 3, vlm.embed_dim)
    pixels = torch.zeros(1, 3, 128, 128)
    assert torch.equal(vlm.encode_images(pixels).pooled, other.encode_images(pixels).pooled)


def test_centres_look_at_good_training_images_once(adapted):
    """The test images are none any more (above): whatever read one would fail."""
    adapted.params = PARAMS | {"encoder": {"device": "cpu", "centre": 0.4}}
    stage(adapted, "adaptation")
    stages, before = last_run(adapted.folder), load_file(adapted.folder / HEADS)
    assert stages["image_features"]["executed"] == stages["image_features"]["items"] > 0
    assert stages["adaptation"]["executed"] == 1 and sorted(before) == ["0.shift", "1.shift", "2.shift"]
    adapted.params["encoder"]["centre"] = 0.2
    stage(adapted, "adaptation")
    stages, after = last_run(adapted.folder), load_file(adapted.folder / HEADS)
    assert stages["image_features"]["executed"] == 0 and stages["adaptation"]["executed"] == 1
    for name, value in after.items():
        torch.testing.assert_close(value, before[name] / 2)


def test_off_leaves_an_empty_folder(adapted):
    adapted.params = PARAMS | {"encoder": {"device": "cpu"}}
    stage(adapted, "adaptation")
    folder = adapted.folder / "artifacts/heads"
    assert folder.is_dir() and not list(folder.iterdir())
