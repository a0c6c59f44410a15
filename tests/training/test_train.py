from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from training.export import FILES, export
from training.pool import Pool
from training.settings import TrainSettings
from training.text import TEXT_TOWER
from training.train import train
from training.trainer import Trainer, _rate

ROOT = Path(__file__).resolve().parents[2]


def _trainer(folder, seed: int = 0) -> Trainer:
    settings = TrainSettings(
        str(folder),
        seed=seed,
        steps=2,
        again=2,
        processes=1,
        batch=2,
        fresh=1,
        pool=4,
        start=3,
        validation=0,
    )
    settings.folder.mkdir(exist_ok=True)
    return Trainer(settings, 0)


def _digest(trainer: Trainer) -> str:
    digest = hashlib.sha256()
    for value in [*trainer.model.state_dict().values(), *trainer.average]:
        digest.update(value.detach().numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Trainer:
    trainer = _trainer(tmp_path_factory.mktemp("whole"))
    for _ in range(3):
        trainer.train_step()
    return trainer


def test_the_same_seed_gives_the_same_weights(whole_run, tmp_path):
    again, other = _trainer(tmp_path / "again"), _trainer(tmp_path / "other", seed=1)
    for _ in range(3):
        again.train_step()
    assert _digest(again) == _digest(whole_run)
    assert _digest(other) != _digest(whole_run)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(whole_run, tmp_path):
    first = _trainer(tmp_path)
    first.train_step()
    first.save()
    first.train_step()  # lost: not saved, though its images are in the pool
    second = _trainer(tmp_path)
    assert second.step == 1
    for _ in range(2):
        second.train_step()
    assert _digest(second) == _digest(whole_run)


@pytest.fixture
def threads() -> Iterator[None]:
    """Training takes one thread; the tests after it get theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _tiny(folder: Path) -> TrainSettings:
    lengths = {"steps": 4, "again": 2, "text_steps": 1, "save": 1}
    sizes = {"batch": 2, "fresh": 1, "pool": 4, "start": 3, "validation": 0, "unknown": 4}
    return TrainSettings(str(folder), log=str(folder / "log"), processes=1, **lengths, **sizes)


def test_a_process_killed_at_work_goes_on_to_the_same_files(tmp_path, threads):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(_tiny(whole))
    given = {name: value for name, value in asdict(_tiny(killed)).items() if value is not None}
    options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    process = subprocess.Popen([sys.executable, "-m", "training.train", *options], cwd=ROOT, start_new_session=True)
    while not (killed / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "log/sha256.txt").exists()
    train(_tiny(killed))
    for name in ("export/model.safetensors", "export/linear.safetensors", "log/losses.csv", "log/sha256.txt"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_second_cycle_has_the_shape_of_the_first_at_half_the_rates(tmp_path):
    settings = TrainSettings(str(tmp_path), steps=1000, again=500)
    rates = [_rate(*settings.cycle(step)) for step in range(settings.total)]
    assert rates[0] == 0.02 and rates[300] == 1.0 and rates[800] == pytest.approx(0.5)
    assert rates[1000] == 0.01 and rates[1150] == 0.5 and rates[1400] == pytest.approx(0.25)
    assert max(rates[995:1000]) < 0.03 and max(rates[1495:]) < 0.03


def test_another_text_tower_leaves_the_image_tower_as_it_is(tmp_path, threads):
    train(_tiny(tmp_path))
    before = {name: load_file(tmp_path / "export" / f"{name}.safetensors") for name in ("model", "linear")}
    (tmp_path / "text.pt").unlink()
    train(replace(_tiny(tmp_path), text_steps=3))
    after = {name: load_file(tmp_path / "export" / f"{name}.safetensors") for name in ("model", "linear")}
    changed = {key for name in before for key in before[name] if not torch.equal(before[name][key], after[name][key])}
    assert changed and all(key.startswith(TEXT_TOWER) for key in changed)


def test_a_step_changes_every_weight_of_the_image_tower(whole_run, tmp_path):
    start = dict(_trainer(tmp_path).tower.named_parameters())
    for name, value in whole_run.tower.named_parameters():
        assert not torch.equal(value, start[name]), name


def test_the_pool_draws_torn_slots_again(tmp_path):
    pool = Pool(tmp_path, seed=1, capacity=3)
    pool.fill(3)
    image = pool.images[1].copy()
    pool.images[1] = 0
    pool._held[1] = 0  # as a kill in the middle of a slot leaves it
    again = Pool(tmp_path, seed=1, capacity=3)
    again.fill(3)
    assert (again.images[1] == image).all()


def test_difficulty_rises_and_then_stays(tmp_path):
    pool = Pool(tmp_path, seed=1, capacity=1, ramp=100)
    assert [pool.difficulty(i) for i in (1, 50, 100, 1000)] == [0.01, 0.5, 1.0, 1.0]
    assert all(0 <= pool.difficulty(i) <= 1 for i in range(0, 600, 3))


def test_exported_files_load_strictly_in_open_clip(whole_run, tmp_path):
    model, tower = whole_run.averaged()
    # It checks the outputs against those of open_clip.
    export(tmp_path, whole_run.config, model, tower, whole_run.lexicon.vocabulary)
    config = whole_run.config
    model = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    model.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    linear = load_file(tmp_path / "linear.safetensors")
    assert linear["fc.0.weight"].shape == (config["embed_dim"], config["vision_cfg"]["width"])
    assert len(linear) == 2 * len(config["layers"])
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < 8e6
    assert not list(tmp_path.glob(".*"))


def test_the_shipped_files_are_what_the_training_gave():
    given = dict(reversed(line.split()) for line in (ROOT / "training/log/sha256.txt").read_text().splitlines())
    assert set(given) == set(FILES)
    for name, digest in given.items():
        shipped = ROOT / "nand_core/vlm/embedded" / name
        assert hashlib.sha256(shipped.read_bytes()).hexdigest() == digest, name
