"""Large images through the items: tiles in, one map of the image out, and the same as the judge of new images gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracle_data import tiny_settings
from PIL import Image
from pydantic import ValidationError

import nand
from flows.inbox.judge import Judge
from nand.export.model import _check_settings
from nand_core.artifacts.maps import MapFile
from nand_core.artifacts.store import Record, Store, sha256_file
from nand_core.asked import Asked, Held
from nand_core.config import Params
from nand_core.errors import NandError
from nand_core.examples import boxed, picture_patches
from nand_core.settings import ExampleSettings, Rule, SuppressionSettings
from nand_core.tiles import Grid
from nand_core.vlm.settings import TileSettings
from tasks.base_maps import DetectorSpec, MapsSpec, base_maps, fit_detector, fitted
from tasks.encoder import encoder_key, shared_encoder
from tasks.example_scores import GridSpec, example_grid
from tasks.examples import (
    DistancesSpec,
    ExampleSpec,
    GoodSpec,
    KindsSpec,
    Place,
    defect_kinds,
    example_patches,
    good_patches,
    patch_distances,
    read_good,
    read_shown,
)
from tasks.image_features import EncodeSpec, Shard, Views, image_features
from tasks.suppression import ShownSpec, SuppressionSpec, suppression
from tasks.work import Work

TILES = TileSettings(size=64, overlap=16)
EXAMPLES = ExampleSettings(bank=600, patches=64, turns=False, meaning=4)
SUPPRESSION = SuppressionSettings(dilation=15, deepest=2)
DETECTORS = {
    "april_gan": {"kind": "april_gan"},
    "patchcore": {"kind": "patchcore", "device": "cpu", "coreset": 0.2},
    "subspace": {"kind": "subspace", "device": "cpu"},
    "winclip": {"kind": "winclip", "shots": 1},
}
SIZE, BOX = (300, 150), (120, 50, 12, 12)
NAMES = ("good0.png", "good1.png", "bad.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Work:
    """Two good images and one with a small square, of 18 tiles each; and a small one, no larger than a tile."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(NAMES):
        pixels = 110 + np.random.default_rng(seed).integers(0, 12, (*SIZE[::-1], 3), dtype=np.uint8)
        if name == "bad.png":
            pixels[BOX[1] : BOX[1] + BOX[3], BOX[0] : BOX[0] + BOX[2]] = (240, 20, 20)
        Image.fromarray(pixels).save(folder / name)
    Image.open(folder / "bad.png").crop((100, 40, 164, 104)).save(folder / "small.png")
    params = {"dataset": {"root": "unused"}, "detectors": DETECTORS,
              "encoder": tiny_settings(112, tiles=TILES).model_dump()}  # fmt: skip
    return Work(Params.model_validate(params), folder, Store(root=folder / "store"))


def made(task, spec, work) -> Record:
    return task(spec, work)


def shards(work: Work, *names: str, tiles: TileSettings | None = TILES) -> tuple[Shard, ...]:
    key, found = encoder_key(work.params.encoder), []
    for name in names:
        where = {"images": (sha256_file(work.root / name),), "tiles": tiles}
        features = made(image_features, EncodeSpec(paths=(name,), encoder=key, **where), work)
        found.append(Shard(ids=(name,), features=features, **where))
    return tuple(found)


def detector_spec(work: Work, name: str, parts: tuple[Shard, ...], of=DetectorSpec, **more):
    text = np.random.default_rng(5).standard_normal((2, shared_encoder(work).embed_dim))
    return of(detector=name, class_name="bottle", settings={}, shards=parts, text=tuple(map(tuple, text.tolist())),
              encoder=encoder_key(work.params.encoder), **more)  # fmt: skip


def vector(work: Work, seed: int) -> tuple[float, ...]:
    found = torch.randn(shared_encoder(work).embed_dim, generator=torch.Generator().manual_seed(seed))
    return tuple((found / found.norm()).tolist())


@pytest.fixture(scope="module")
def good(work) -> Record:
    parts = shards(work, *NAMES[:2])
    key = encoder_key(work.params.encoder)
    return made(good_patches, GoodSpec(class_name="bottle", shards=parts, encoder=key, settings=EXAMPLES), work)


@pytest.fixture(scope="module")
def kinds(work) -> Record:
    spec = KindsSpec(class_name="bottle", deepest=SUPPRESSION.deepest, encoder=encoder_key(work.params.encoder))
    return made(defect_kinds, spec, work)


@pytest.fixture(scope="module")
def like(work, good, kinds) -> Record:
    path = work.root / "bad.png"
    spec = ExampleSpec(image=sha256_file(path), path=path, place=Place(box=BOX), good=good, settings=EXAMPLES,
                       kinds=kinds, encoder=encoder_key(work.params.encoder), tiles=TILES)  # fmt: skip
    return made(example_patches, spec, work)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_and_normality_sees_the_tiles_and_the_judge_gives_the_same(work, good, like, kinds, name):
    train, tests = shards(work, *NAMES[:2]), shards(work, "good1.png", "bad.png")
    trained = name != "april_gan"
    state = made(fit_detector, detector_spec(work, name, train), work) if trained else None
    record = made(base_maps, detector_spec(work, name, tests, MapsSpec, state=state), work)
    base = MapFile(work.store.path(record))[:]
    if name in ("patchcore", "subspace"):
        y, x = (np.add(BOX[:2], 6)[::-1] * 256 / np.array(SIZE[::-1])).astype(int)
        top = np.unravel_index(base[1].argmax(), (256, 256))
        assert base[1].max() > base[0].max() and abs(top[0] - y) < 60 and abs(top[1] - x) < 30
    distances = made(patch_distances, DistancesSpec(shards=tests, good=good), work)
    asked = Asked("spot", vector(work, 1), vector(work, 2), (vector(work, 3),))
    shown = ShownSpec(like=(like,), unlike=(), good=good, distances=distances, settings=EXAMPLES, kinds=kinds)
    spec = SuppressionSpec(class_name="bottle", shards=tests, asked=asked, shown=shown,
                           encoder=encoder_key(work.params.encoder), settings=SUPPRESSION)  # fmt: skip
    seen = MapFile(work.store.path(made(suppression, spec, work)))[:]
    assert seen.min() >= 0 and seen.max() <= 1
    held = Held("spot", asked, read_shown((like,), (), good, EXAMPLES, work, kinds))
    detector = fitted(detector_spec(work, name, ()), state, work)
    judge = Judge(name, detector, lambda: shared_encoder(work), (held,), SUPPRESSION, Rule(), 1, 1,
                  read_good(good, work), EXAMPLES, TILES)  # fmt: skip
    verdicts = judge(("good1.png", "bad.png"), [Image.open(work.root / one) for one in ("good1.png", "bad.png")])
    for verdict, anomaly, suppressed in zip(verdicts, base, seen, strict=True):
        assert verdict.score_before == anomaly.max()
        np.testing.assert_array_equal(verdict.adapted, anomaly * (1 - suppressed))


def test_an_image_no_larger_than_a_tile_is_seen_as_ever(work):
    for name in ("patchcore", "winclip"):
        state = made(fit_detector, detector_spec(work, name, shards(work, "good0.png")), work)
        cut, whole = (
            MapFile(work.store.path(made(base_maps, detector_spec(work, name, one, MapsSpec, state=state), work)))[:]
            for one in (shards(work, "small.png"), shards(work, "small.png", tiles=None))
        )
        np.testing.assert_array_equal(cut, whole)


def test_examples_are_what_tiles_show_of_them_and_a_sample_of_good_patches_stays_bounded(work, good, like, kinds):
    tiles = len(Grid.of(SIZE, TILES))
    assert len(Views(shards(work, "bad.png")[0], work)) == tiles == 18
    reference = read_good(good, work)
    assert len(reference.bank) == EXAMPLES.bank
    vlm, picture = shared_encoder(work), Image.open(work.root / "bad.png")
    patches, *_ = picture_patches(vlm, picture, boxed("bad", BOX, SIZE), reference, EXAMPLES, TILES)
    found = read_shown((like,), (), good, EXAMPLES, work, kinds)
    assert 0 < len(patches) < tiles * 49 / 4 and len(found.like) == min(len(patches), EXAMPLES.patches)
    tests = shards(work, "good1.png", "bad.png")
    distances = made(patch_distances, DistancesSpec(shards=tests, good=good), work)
    spec = GridSpec(shards=tests, like=(like,), good=good, distances=distances, settings=EXAMPLES, kinds=kinds,
                    encoder=encoder_key(work.params.encoder))  # fmt: skip
    grid = np.load(work.store.path(made(example_grid, spec, work)))
    assert grid.shape == (2, 256, 256) and grid.min() >= 0 and grid.max() <= 1
    alone = spec.model_copy(update={"settings": EXAMPLES.model_copy(update={"meaning": None})})
    grid = np.load(work.store.path(made(example_grid, alone, work)))
    assert grid[1].max() == 1 > grid[0].max()


def test_the_library_gives_the_same(work, good, like, kinds):
    names = ("good1.png", "bad.png")
    tests, key = shards(work, *names), encoder_key(work.params.encoder)
    distances = made(patch_distances, DistancesSpec(shards=tests, good=good), work)
    shown = ShownSpec(like=(like,), unlike=(), good=good, distances=distances, settings=EXAMPLES, kinds=kinds)
    spec = SuppressionSpec(class_name="bottle", shards=tests, shown=shown, encoder=key, settings=SUPPRESSION)
    seen = MapFile(work.store.path(made(suppression, spec, work)))[:]
    normality = nand.Normality("bottle", shared_encoder(work), tiles=TILES, examples=EXAMPLES, suppression=SUPPRESSION,
                               good=[work.root / name for name in NAMES[:2]])  # fmt: skip
    normality.add("spot", like=[nand.Example(work.root / "bad.png", box=BOX)])
    result = normality.apply([work.root / name for name in names], np.ones((2, 256, 256), np.float32))
    np.testing.assert_array_equal(result.suppression, seen)


def test_what_no_tiles_can_go_through_says_so(work):
    with pytest.raises(NandError, match=r"^encoder\.tiles: a graph sees one image of one size"):
        _check_settings(work.params, "april_gan")
    detectors = {"winclip": {"kind": "winclip", "encoder": {"tiles": {}}}}
    with pytest.raises(ValidationError, match="tiles are those of the section encoder"):
        Params.model_validate({"dataset": {"root": "unused"}, "detectors": detectors})
