"""A file that is replaced after it was hashed: no item is made of it, one line names it, and nothing is stored."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracle_data import Batch, tiny_settings
from PIL import Image
from safetensors.torch import save_file

from nand_core.artifacts.maps import MapFile, write_maps
from nand_core.artifacts.store import Store, sha256_file
from nand_core.artifacts.verified import verified
from nand_core.datasets.manifest import digest_files, read_files
from nand_core.datasets.scan import scan
from nand_core.datasets.settings import DatasetSettings
from nand_core.decision import Claimed
from nand_core.detectors.base import Context
from nand_core.detectors.build import build_detector, detector_digest
from nand_core.detectors.networks import build_backbone
from nand_core.detectors.settings import ExternalSettings, PatchCoreSettings
from nand_core.errors import NandError
from nand_core.examples import ExampleSettings
from nand_core.report.inputs import read_json
from nand_core.settings import Rule
from tasks.base_maps import DetectorSpec, fit_detector
from tasks.changes import StripsSpec, strips
from tasks.dataset import ClassSpec, dataset
from tasks.encoder import encoder_key
from tasks.examples import ExampleSpec, Place, example_patches
from tasks.image_features import EncodeSpec, image_features
from tasks.scores import BaseScoreSpec, ScoreSpec, base_scores, scores
from tasks.work import Work

CHANGED = r"{}: has changed since it was first read; nothing of it was stored, run again"
MAPS = np.random.default_rng(0).random((3, 16, 16), dtype=np.float32)
IDS = ["carpet/test/hole/0.png", "carpet/test/hole/1.png", "carpet/test/good/0.png"]
RULE = Rule(level=0.5)


def draw(path: Path, seed: int, size: tuple[int, int] = (9, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def work(tmp_path) -> Work:
    """A class with a test image and its mask, two detectors' maps, and the settings of a tiny encoder."""
    root = tmp_path / "data"
    masks = [f"carpet/ground_truth/{name}_mask.png" for name in ("hole/0", "hole/1", "cut/0")]
    for seed, name in enumerate([*IDS, "carpet/train/good/0.png", "carpet/test/cut/0.png", *masks]):
        draw(root / name, seed)
    for name in ("base", "other"):
        write_maps(tmp_path / f"{name}.npz", IDS, [MAPS * (1 + len(name))], size=16)
    settings = tiny_settings(112, **{name: str(shutil.copy(path, tmp_path)) for name, path in ENCODER.items()})
    params = SimpleNamespace(encoder=settings, detectors={})
    return Work(params, root, Store(root=tmp_path / "store"))


ENCODER = {name: getattr(tiny_settings(112), name) for name in ("model", "pretrained", "linear_layers")}


def replaced(path: Path) -> None:
    """Another file of the same kind in its place, by a rename, as most programs do it."""
    other = path.with_name(f"new{path.suffix}")
    if path.suffix == ".npz":
        write_maps(other, IDS, [MAPS / 2], size=16)
    elif path.suffix == ".png":
        draw(other, 99)
    else:
        other.write_bytes(path.read_bytes() + b" ")
    other.replace(path)


def content(work: Work) -> Callable[[str], str]:
    return lambda name: sha256_file(work.root / name)


def check_rows(work: Work) -> ClassSpec:
    frame = digest_files(scan(DatasetSettings(kind="folder", root="unused"), work.root), work.root)
    return ClassSpec(class_name="carpet", rows=tuple(frame.to_dict("records")))


def encoding(work: Work) -> EncodeSpec:
    digests = tuple(map(content(work), IDS))
    return EncodeSpec(images=digests, paths=tuple(IDS), encoder=encoder_key(work.params.encoder))


def pictures(work: Work) -> StripsSpec:
    base, other = (work.root.parent / f"{name}.npz" for name in ("base", "other"))
    files = {sha256_file(path): path for path in (base, other)}
    images = tuple((name, content(work)(name)) for name in IDS)
    first, second = files
    claims = (Claimed(suppression=second),)
    return StripsSpec(images=images, base=first, claims=claims, files=files, rule=RULE, panel=16, quality=50)


def base_score(work: Work) -> BaseScoreSpec:
    path = work.root.parent / "base.npz"
    return BaseScoreSpec(ids=tuple(IDS), base=sha256_file(path), base_path=path)


def score(work: Work) -> ScoreSpec:
    made = pictures(work)
    return ScoreSpec(ids=tuple(IDS), base=made.base, claims={"": made.claims[0]}, files=made.files, rule=RULE)


def example(work: Work) -> ExampleSpec:
    path, mask = (work.root / name for name in (IDS[0], "carpet/ground_truth/hole/0_mask.png"))
    good = work.store.put(b"", "safetensors")
    place = Place(mask=sha256_file(mask), mask_path=mask)
    key = encoder_key(work.params.encoder)
    return ExampleSpec(
        image=sha256_file(path), path=path, place=place, good=good, encoder=key, settings=ExampleSettings()
    )


CASES = [
    *((dataset, check_rows, f"data/{name}") for name in (*IDS, "carpet/ground_truth/hole/0_mask.png")),
    *((image_features, encoding, f"data/{name}") for name in IDS),
    *((image_features, encoding, Path(path).name) for path in ENCODER.values()),
    *((strips, pictures, name) for name in (*(f"data/{name}" for name in IDS), "base.npz", "other.npz")),
    *((scores, score, name) for name in ("base.npz", "other.npz")),
    (base_scores, base_score, "base.npz"),
    *((example_patches, example, f"data/{name}") for name in (IDS[0], "carpet/ground_truth/hole/0_mask.png")),
]


@pytest.mark.parametrize(("task", "spec", "name"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_an_item_is_not_made_of_a_file_that_was_replaced(work, tmp_path, task, spec, name):
    made = spec(work)
    before = set(tmp_path.rglob("store/objects/*/*"))
    replaced(tmp_path / name)
    with pytest.raises(NandError) as refused:
        task(made, work)
    assert str(refused.value) == CHANGED.format(tmp_path / name)
    assert set(tmp_path.rglob("store/objects/*/*")) == before and not list(tmp_path.rglob("store/records/*"))


@pytest.mark.parametrize("seed", range(3))
def test_swaps_at_any_moment_give_no_wrong_object(work, seed, monkeypatch):
    """Images and maps are swapped, and some swapped back, whenever a file is opened."""
    chance = random.Random(seed)  # noqa: S311 - a seeded draw
    folder = work.root.parent
    made = pictures(work)
    wanted = strips(made, work).sha256
    names = [folder / "base.npz", folder / "other.npz", *(work.root / name for name in IDS)]
    good = {path: path.read_bytes() for path in names}
    swapped = {path: path.with_name(f"swapped{path.suffix}") for path in names}
    for path, other in swapped.items():
        shutil.copy(path, other)
        replaced(other)
    opened, swaps = verified, Counter()

    def disturbed(path: Path, sha256: str | None) -> object:
        where = chance.choice(names)
        how = chance.choice([good, {path: other.read_bytes() for path, other in swapped.items()}, None])
        if how is not None:
            where.write_bytes(how[where])
            swaps["in all"] += 1
        return opened(path, sha256)

    monkeypatch.setattr("tasks.images.verified", disturbed)
    for _ in range(30):
        for path in names:
            path.write_bytes(good[path])
        with suppress(NandError):
            assert strips(made, work).sha256 == wanted
            swaps["survived"] += 1
    assert swaps["in all"] > 30 and 0 < swaps["survived"] < 30


def test_what_takes_the_place_of_an_open_file_of_maps_is_not_read(tmp_path):
    path = tmp_path / "maps.npz"
    write_maps(path, IDS, [MAPS], size=16)
    file = MapFile(path, sha256_file(path))
    parts = file.batches(1)
    read = [next(parts)]
    replaced(path)
    assert np.array_equal(np.concatenate([*read, *parts]), MAPS) and np.array_equal(file[:], MAPS)
    file.check()
    with pytest.raises(NandError, match="has changed since"):
        MapFile(path, file._sha256).check()


def test_an_open_file_of_maps_that_is_written_to(tmp_path):
    path = tmp_path / "maps.npz"
    write_maps(path, IDS, [MAPS], size=16)
    file = MapFile(path, sha256_file(path))
    parts = file.batches(1)
    next(parts)
    with path.open("r+b") as written:
        written.seek(file._offset + 2 * 16 * 16 * 4)
        written.write(b"\0\0\0\0")
    with pytest.raises(NandError, match="has changed since"):
        list(parts)
    with pytest.raises(NandError, match="has changed since"):
        file.check()
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(NandError, match=r"maps\.npz: was cut off while it was read"):
        _ = file[:]


def test_maps_of_another_program(tmp_path):
    folder, archive, context = tmp_path / "maps", tmp_path / "maps.npz", []
    for number, name in enumerate(IDS):
        path = (folder / name).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, MAPS[number])
    np.savez(archive, maps=MAPS, ids=np.array(IDS))
    for where in (folder, archive):
        settings = ExternalSettings(maps=str(where))
        context.append((settings, Context("carpet", None, None, detector_digest(settings, "carpet", IDS))))
        assert torch.equal(build_detector("a", *context[-1]).maps(Batch([], IDS)), torch.from_numpy(MAPS))
    replaced(path)
    replaced(archive)
    for (settings, files), name in zip(context, (path, archive), strict=True):
        with pytest.raises(NandError, match=CHANGED.format(name)):
            build_detector("a", settings, files).maps(Batch([], IDS))
    Image.fromarray(MAPS[2]).save(path.with_suffix(".tiff"), format="TIFF")
    path.unlink()
    with pytest.raises(NandError, match=CHANGED.format(path.with_suffix(".tiff"))):
        build_detector("a", *context[0]).maps(Batch([], IDS))


def test_the_weights_of_a_backbone(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    settings = PatchCoreSettings(backbone="torchvision:resnet18.IMAGENET1K_V1", weights=str(path))
    digests = detector_digest(settings, "carpet", [])
    with pytest.raises(NandError, match="does not fit"):
        build_backbone(settings, digests)
    replaced(path)
    with pytest.raises(NandError, match=CHANGED.format(path)):
        build_backbone(settings, digests)


def test_the_encoder_that_an_item_names_is_the_one_that_it_gets(work, tmp_path):
    """A process that lives on, such as the page's, has loaded the encoder before its weights were replaced."""
    spec = encoding(work)
    before = image_features(spec, work)
    weights = torch.load(tmp_path / "clip_tiny.pt", weights_only=True)
    torch.save({name: value * 1.5 if value.is_floating_point() else value for name, value in weights.items()},
               tmp_path / "clip_tiny.pt")  # fmt: skip
    after = image_features(encoding(work), work)
    assert after != before and len(work.loaded) == 1
    with pytest.raises(NandError, match="has changed since"):
        image_features(spec, work)


def test_a_plugins_files(work, tmp_path, monkeypatch):
    """How it reads them is its own affair: they are hashed again before anything is stored."""
    path = tmp_path / "checkpoint"
    path.write_bytes(b"one")
    settings = SimpleNamespace(kind="plugin")
    work.params.detectors["mine"] = settings
    monkeypatch.setattr("tasks.base_maps.plugin_digest", lambda *_: {"checkpoint": sha256_file(path)})
    made = SimpleNamespace(fit=lambda good: path.write_bytes(b"two"), state=lambda: {"a": torch.zeros(1)})
    monkeypatch.setattr("tasks.base_maps.build_detector", lambda *_: made)
    spec = DetectorSpec(detector="mine", class_name="carpet", settings={}, shards=(),
                        files={"checkpoint": sha256_file(path)})  # fmt: skip
    with pytest.raises(NandError, match="mine: files that it reads have changed"):
        fit_detector(spec, work)
    assert not list(tmp_path.rglob("store/objects/*/*"))
    made.fit = lambda good: None
    fit_detector(spec.model_copy(update={"files": {"checkpoint": sha256_file(path)}}), work)


def test_masks_and_prompt_sets(work, tmp_path):
    name = "carpet/ground_truth/hole/0_mask.png"
    digest = content(work)(name)
    replaced(work.root / name)
    with pytest.raises(NandError, match=CHANGED.format(work.root / name)):
        read_files(work.root, name, digest)
    path = tmp_path / "thread.json"
    path.write_text('{"a": 1}')
    assert read_json(path, sha256_file(path)) == {"a": 1}
    with pytest.raises(NandError, match=CHANGED.format(path)):
        read_json(path, digest)
