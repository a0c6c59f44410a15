"""PatchCore's parts and its way through fit, state and maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from oracle_data import Batch, images, tiny_vlm
from patch_data import Stem, striped
from pydantic import ValidationError
from safetensors.torch import load, save, save_file
from scipy.ndimage import gaussian_filter
from torch import nn

from nand_core.detectors.backbones import Modules
from nand_core.detectors.base import Context
from nand_core.detectors.coreset import dense_projection, greedy_coreset, start_from_mean, start_from_point
from nand_core.detectors.networks import backbone_digest, build_backbone
from nand_core.detectors.patchcore import PatchCore, PatchCoreSettings
from nand_core.detectors.patches import Bank, gaussian_blur, nearest_neighbours, paste_centre, pooled_patches
from nand_core.detectors.sample import Sample
from nand_core.errors import NandError


@pytest.fixture(scope="module")
def vlm():
    return tiny_vlm(112)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def detector(vlm=None, **settings):
    return PatchCore(PatchCoreSettings(device="cpu", **settings), Context("bottle", lambda: vlm, None))


@examples(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(0, 29))
def test_greedy_choice_is_the_farthest_of_all(seed, count, start):
    points = random(30, 3, seed=seed)
    chosen = greedy_coreset(points, count, start_from_point(30, start, points.device)).tolist()
    assert chosen[0] == start and len(set(chosen)) == count
    for i in range(1, count):
        distances = torch.cdist(points.double(), points[chosen[:i]].double()).amin(dim=1)
        assert distances[chosen[i]] == pytest.approx(distances.max().item(), rel=1e-3, abs=1e-3)


def test_equal_points_are_chosen_once_each():
    points = torch.zeros(5, 2)
    assert sorted(greedy_coreset(points, 5, start_from_mean(points, torch.tensor([0]))).tolist()) == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_dense_projection_keeps_the_order_of_distances():
    points = torch.cat([random(50, 512), 3 + random(50, 512, seed=1)])
    projected = points @ dense_projection(512, 128, torch.Generator().manual_seed(0)).T
    assert (
        projected[:50].sub(projected[0]).norm(dim=1).max()
        < projected[50:].sub(projected[0]).norm(dim=1).min()
    )


def test_nearest_neighbours_are_exact_also_where_points_coincide():
    bank, points = 1000 + random(70, 40), 1000 + random(200, 40, seed=1)
    points[3] = bank[5]
    distances, nearest = nearest_neighbours(points, bank)
    wanted = (points[:, None] - bank).norm(dim=-1).min(dim=1)
    torch.testing.assert_close(distances, wanted.values)
    assert torch.equal(nearest, wanted.indices)
    assert distances[3] == 0 and nearest[3] == 5


@examples(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 200), st.integers(1, 40), st.sampled_from([1, 7, 64, 2**11]))
@example(seed=199, count=199, size=1, side=1)
def test_a_bank_searched_in_parts_finds_what_the_definition_does(seed, count, size, side):
    bank, points = 5 + random(count, size, seed=seed), 5 + random(30, size, seed=seed + 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("nand_core.detectors.patches._SIDE", side)
        distances, nearest = Bank(bank).nearest(points)
    squares = (points[:, None].double() - bank.double()).square().sum(dim=-1)
    # float32 tells squares of this size apart no better.
    scale = float((bank - bank.mean(dim=0)).square().sum(dim=1).max() + squares.max())
    tolerance = 8 * torch.finfo(torch.float32).eps * scale
    torch.testing.assert_close(squares.gather(1, nearest[:, None])[:, 0], squares.amin(dim=1), rtol=0, atol=tolerance)
    assert torch.equal(distances, (points - bank[nearest]).norm(dim=1))


@pytest.mark.parametrize(("repeat_edge", "mode"), [(True, "reflect"), (False, "mirror")])
@pytest.mark.parametrize("shape", [(20, 30), (5, 3), (40, 40)])
def test_blur_is_scipys(repeat_edge, mode, shape):
    maps = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    wanted = gaussian_filter(maps.numpy(), sigma=(0, 4, 4), mode=mode)
    np.testing.assert_allclose(gaussian_blur(maps, 4.0, repeat_edge), wanted, atol=1e-5)


def test_no_blur_is_none():
    maps = torch.rand(1, 4, 4)
    assert gaussian_blur(maps, 0.0, True) is maps


def test_pooled_patches_average_the_neighbourhood():
    feature = random(1, 2, 5, 5)
    found = pooled_patches([feature], 2)
    wanted = nn.functional.avg_pool2d(feature, 3, 1, 1).movedim(1, -1)
    torch.testing.assert_close(found, wanted)


def test_a_crop_is_pasted_where_it_was_cut():
    found = paste_centre(torch.ones(1, 224, 224), 256)
    assert found[0, 16:240, 16:240].all() and found.sum() == 224**2
    assert found.shape == (1, 256, 256)


@pytest.mark.parametrize("variant", ["published", "anomalib"])
@pytest.mark.parametrize("crop", [None, 224])
def test_an_anomaly_stands_at_its_place_in_the_whole_image(monkeypatch, variant, crop):
    monkeypatch.setattr("nand_core.detectors.backbones.build_backbone", lambda *_: Stem())
    found = detector(variant=variant, backbone="timm:stem.mean", crop=crop, dimensions=6)
    found.fit([Batch([striped(), striped()], ["a", "b"])])
    maps = found.maps(Batch([striped(), striped((40, 20, 48, 28))], ["c", "d"]))
    assert maps.shape == (2, 256, 256) and maps.dtype == torch.float32
    assert maps[0].max() < 1e-3 < maps[1].max()
    row, column = divmod(maps[1].argmax().item(), 256)
    assert abs(row - 24 * 4) < 12 and abs(column - 44 * 4) < 12
    if crop:
        assert maps[1, :16].max() == 0


@pytest.mark.parametrize("layers", [None, (6, 9)])
def test_shared_encoder(vlm, layers):
    fitted = detector(vlm, variant="published", layers=layers, dimensions=32, coreset=0.5)
    assert fitted.needs == ({"features", "vlm"} if layers else {"features"}) and fitted.trained
    good = Batch(images("ref0", "ref1"), vlm=vlm)
    fitted.fit([good])
    state = fitted.state()
    assert state["bank"].shape == (49, 32)
    again = detector(vlm, variant="published", layers=layers, dimensions=32)
    again.load_state(load(save(state)))
    test = Batch(images("img0", "img1", "img2"), vlm=vlm)
    maps = fitted.maps(test)
    assert maps.shape == (3, 256, 256) and maps.min() >= 0
    assert torch.equal(maps, again.maps(test))


def test_without_layers_named_all_but_the_last_are_used(vlm):
    batch = Batch(images("img0"), vlm=vlm)
    maps = []
    for layers in (None, vlm.layers[:-1]):
        fitted = detector(vlm, layers=layers)
        fitted.fit([Batch(images("ref0", "ref1"), vlm=vlm)])
        maps.append(fitted.maps(batch))
    assert torch.equal(*maps)


def test_a_seed_gives_the_same_bank_and_another_seed_another(vlm):
    banks = []
    for seed in (0, 0, 1):
        fitted = detector(vlm, variant="published", dimensions=32, coreset=0.1, seed=seed)
        fitted.fit([Batch(images("ref0", "ref1"), vlm=vlm)])
        banks.append(fitted.state()["bank"])
    assert torch.equal(banks[0], banks[1]) and not torch.equal(banks[0], banks[2])


def test_squared_distances_square_the_map(vlm):
    maps = []
    for distance in ("l2", "squared"):
        fitted = detector(vlm, distance=distance, sigma=0, dimensions=32, variant="anomalib")
        fitted.fit([Batch(images("ref0", "ref1"), vlm=vlm)])
        maps.append(fitted.maps(Batch(images("img0"), vlm=vlm)))
    torch.testing.assert_close(maps[0].square(), maps[1])


@pytest.mark.parametrize(
    "state", [{}, {"bank": torch.zeros(3)}, {"bank": torch.zeros(3, 5)}, {"banc": torch.zeros(3, 32)}]
)
def test_states_that_do_not_fit(state):
    with pytest.raises(NandError, match="detector state"):
        detector(variant="published", dimensions=32).load_state(state)


def test_a_bank_of_another_backbone(vlm):
    other = detector(vlm, variant="anomalib")
    other.load_state({"bank": torch.zeros(3, 5)})
    with pytest.raises(NandError, match="vectors of 5, the images give 144"):
        other.maps(Batch(images("img0"), vlm=vlm))


def test_no_bank_yet(vlm):
    with pytest.raises(NandError, match="memory bank is empty"):
        detector(vlm).maps(Batch(images("img0"), vlm=vlm))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(vlm, count):
    with pytest.raises(NandError, match=r"'bottle' leave nothing at coreset=0\.001"):
        detector(vlm, coreset=0.001).fit([Batch(images("ref0"), vlm=vlm)] * count)


def test_blocks_that_the_encoder_does_not_give(vlm):
    with pytest.raises(NandError, match=r"\[4\] not among the encoder's blocks \[3, 6, 9, 12\]"):
        detector(vlm, layers=(4, 6)).fit([Batch(images("ref0"), vlm=vlm)])


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "wide_resnet50_2"},
        {"backbone": "torchvision:wide_resnet50_2"},
        {"layers": ("layer2",)},
        {"backbone": "torchvision:resnet18.IMAGENET1K_V1", "layers": (2,)},
        {"backbone": "timm:resnet18", "layers": (2, "layer3")},
        {"layers": ()},
        {"crop": 300},
        {"weights": "wide.pth"},
        {"backbone": "timm:resnet18", "sha256": "0" * 64},
        {"coreset": 0},
        {"variant": "mine"},
    ],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        PatchCoreSettings(**settings)


def test_weights_of_a_backbone_are_given_as_a_file(tmp_path):
    import torchvision

    path = tmp_path / "resnet18.safetensors"
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    save_file(model.state_dict(), path)
    name = "torchvision:resnet18.IMAGENET1K_V1"
    built = build_backbone(PatchCoreSettings(backbone=name, weights=str(path)))
    assert torch.equal(built.conv1.weight, model.conv1.weight)
    with pytest.raises(NandError, match="does not fit timm:resnet34"):
        build_backbone(PatchCoreSettings(backbone="timm:resnet34.tv_in1k", weights=str(path)))
    with pytest.raises(NandError, match="could not be loaded"):
        build_backbone(PatchCoreSettings(backbone="torchvision:resnet19.IMAGENET1K_V1"))
    assert backbone_digest(PatchCoreSettings()) == {}
    assert backbone_digest(PatchCoreSettings(backbone=name)) == {"weights": name}
    with pytest.raises(NandError, match="sha256"):
        backbone_digest(PatchCoreSettings(backbone=name, weights=str(path), sha256="0" * 64))
    with pytest.raises(NandError, match=r"nowhere\.pt"):
        backbone_digest(PatchCoreSettings(backbone=name, weights="nowhere.pt"))


def test_a_module_that_the_backbone_lacks():
    with pytest.raises(NandError, match=r"no module 'layer9'.*known: layer2, layer3"):
        Modules(Stem(), ("layer9",), 64, None, torch.device("cpu"))


def test_backbone_preprocessing_cuts_the_centre():
    pixels = Modules(Stem(), ("layer2",), 64, 32, torch.device("cpu")).preprocess(striped((16, 16, 48, 48)))
    assert pixels.shape == (3, 32, 32)
    torch.testing.assert_close(pixels[0], torch.full((32, 32), (250 / 255 - 0.485) / 0.229))


def test_a_sample_keeps_all_up_to_its_size_and_then_each_as_likely():
    points = torch.arange(60.0)[:, None]
    whole = Sample(60, 0)
    for part in points.split(7):
        whole.add(part)
    assert torch.equal(whole.points, points)
    counts = torch.zeros(60)
    for seed in range(200):
        some = Sample(20, seed)
        for part in points.split(7):
            some.add(part)
        kept = some.points[:, 0].long()
        assert len(kept) == 20 == len(kept.unique())
        counts[kept] += 1
    assert (counts / 200 - 1 / 3).abs().max() < 0.14  # 4 deviations


def test_more_patches_than_the_bound_leave_a_sample_of_them_to_the_coreset(vlm):
    pictures = [Batch(images(name), vlm=vlm) for name in ("img0", "img1", "img2")]
    few, again, every = (detector(vlm, coreset=1.0, patches=most) for most in (100, 100, 1000))
    for one in (few, again, every):
        one.fit(pictures)
    bank, whole = few.state()["bank"], every.state()["bank"]
    assert len(bank) == 100 < len(whole) and torch.equal(bank, again.state()["bank"])
    assert {tuple(row) for row in bank.tolist()} < {tuple(row) for row in whole.tolist()}
