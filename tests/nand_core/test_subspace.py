"""The subspace detector: its PCA, and its way through fit, state and maps."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from oracle_data import Batch, images, tiny_vlm
from patch_data import Stem, striped
from pydantic import ValidationError
from safetensors.torch import load, save
from sklearn.decomposition import PCA

from nand_core.detectors.base import Context
from nand_core.detectors.settings import SubspaceSettings
from nand_core.detectors.subspace import Subspace, merged, moments, principal_components, residual_norms
from nand_core.errors import NandError

GOOD = ("ref0", "ref1")


@pytest.fixture(scope="module")
def vlm():
    return tiny_vlm(112)


def detector(vlm=None, **settings):
    return Subspace(SubspaceSettings(device="cpu", **settings), Context("bottle", lambda: vlm, None))


def fitted(vlm, batches, **settings):
    found = detector(vlm, **settings)
    found.fit(Batch(batch, vlm=vlm) for batch in batches)
    return found


def correlated(n, width, seed=0, offset=0.0):
    """Points (n, width) float32 whose variance falls from axis to axis, turned at random."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    return offset + torch.randn(n, width, generator=generator) * 0.7 ** torch.arange(width) @ turn


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize(("n", "offset"), [(400, 0.0), (400, 30.0), (20, 0.0)])
def test_residuals_are_those_of_scikit_learns_pca(variance, n, offset):
    good, new = correlated(n, 40, offset=offset), correlated(50, 40, seed=1, offset=offset)
    found = moments(good)
    components = principal_components(found, variance)
    pca = PCA(variance, svd_solver="full").fit(good.double().numpy())
    assert components.shape == pca.components_.shape
    points = new.double().numpy()
    wanted = np.linalg.norm(points - pca.inverse_transform(pca.transform(points)), axis=1)
    residuals = residual_norms(new, found.mean.float(), components.float())
    np.testing.assert_allclose(residuals.numpy(), wanted, rtol=1e-4, atol=1e-6 * max(1, offset))


def test_maps_of_the_encoders_patches_are_those_of_a_pca_of_all_patches_at_once(vlm):
    found = fitted(vlm, [images("ref0"), images("ref1")], sigma=0)
    good, new = (found.embed(Batch(images(*names), vlm=vlm).features().layers[:-1]) for names in (GOOD, ["img0"]))
    pca = PCA(0.99, svd_solver="full").fit(good.flatten(0, 2).double().numpy())
    points = new.flatten(0, 2).double().numpy()
    wanted = np.linalg.norm(points - pca.inverse_transform(pca.transform(points)), axis=1)
    maps = found.maps(Batch(images("img0"), vlm=vlm))
    grid = new.shape[1:3]
    steps = [torch.arange(side) * 256 // side + 256 // side // 2 for side in grid]
    np.testing.assert_allclose(maps[0][steps[0]][:, steps[1]], wanted.reshape(grid), rtol=1e-4)


@examples(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 59), max_size=6), st.sampled_from([0.0, 1e4]), st.randoms())
def test_moments_do_not_depend_on_order_and_batches(seed, cuts, offset, random):
    points = correlated(60, 5, seed, offset)
    order = list(range(60))
    random.shuffle(order)
    parts = [part for part in torch.tensor_split(points[order], sorted(cuts)) if len(part)]
    found, wanted = reduce(merged, map(moments, parts)), moments(points)
    assert found.count == wanted.count == 60
    torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.scatter, wanted.scatter, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(wanted.scatter / 59, np.cov(points.double().T.numpy()), rtol=1e-9, atol=1e-9)


@examples(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 30), st.floats(0.01, 0.999))
def test_components_are_the_fewest_that_hold_the_variance(seed, n, variance):
    points = correlated(n, 8, seed)
    components = principal_components(moments(points), variance)
    assert len(components) <= max(0, min(n - 1, 8))
    torch.testing.assert_close(components @ components.T, torch.eye(len(components)).double())
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()
    centred = points.double() - points.double().mean(dim=0)
    for count in {len(components), len(components) - 1} - {-1}:
        held = (centred @ components[:count].T).square().sum() / centred.square().sum().clamp(min=1e-300)
        if count == len(components):
            assert held >= variance - 1e-9 or n == 1
        else:
            assert held < variance + 1e-9


def test_the_order_and_batches_of_good_images_do_not_matter(vlm):
    names = ("ref0", "ref1", "img1", "img2")
    found = [
        fitted(vlm, batches).maps(Batch(images("img0"), vlm=vlm))
        for batches in (
            [images(*names)],
            [images(name) for name in reversed(names)],
            [images("img1", "ref0"), images("img2", "ref1")],
        )
    ]
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[2], found[0], rtol=1e-5, atol=1e-5)


def test_what_was_fitted_on_is_near_the_subspace(vlm):
    peaks = [
        fitted(vlm, [images("img0", "ref0")], variance=variance).maps(Batch(images("img0"), vlm=vlm)).max()
        for variance in (0.9, 0.99, 1 - 1e-9)
    ]
    assert peaks[0] > peaks[1] > peaks[2] and peaks[2] < 1e-3 * peaks[0]


@pytest.mark.parametrize("layers", [None, (6, 9)])
def test_a_stored_subspace_gives_the_same_maps(vlm, layers):
    found = fitted(vlm, [images(*GOOD)], layers=layers)
    assert found.trained and found.needs == ({"features", "vlm"} if layers else {"features"})
    state = found.state()
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    assert state["components"].shape[1:] == state["mean"].shape
    again = detector(vlm, layers=layers)
    again.load_state(load(save(state)))
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in state.items())
    test = Batch(images("img0", "img1", "img2"), vlm=vlm)
    maps = found.maps(test)
    assert maps.shape == (3, 256, 256) and maps.dtype == torch.float32 and maps.min() >= 0
    assert torch.equal(maps, again.maps(test))


def test_one_image_with_fewer_patches_than_dimensions(vlm):
    found = fitted(vlm, [images("ref0")])
    patches, width = 49, found.state()["mean"].numel()
    assert 0 < len(found.state()["components"]) < patches < width
    own, other = (found.maps(Batch(images(name), vlm=vlm)) for name in ("ref0", "img0"))
    assert own.max() < other.max()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_without_variance_it_is_the_distance_to_the_mean(value):
    found = moments(torch.full((70, 3), value))
    components = principal_components(found, 0.99)
    assert components.shape == (0, 3)
    state = load(save({"mean": found.mean.float(), "components": components.float()}))
    again = detector()
    again.load_state(state)
    distances = residual_norms(torch.full((2, 3), value + 2), *again._fitted())
    torch.testing.assert_close(distances, torch.full((2,), 2 * 3**0.5), rtol=1e-3, atol=0)


@pytest.mark.parametrize("crop", [None, 224])
def test_an_anomaly_stands_at_its_place_in_the_whole_image(monkeypatch, crop):
    monkeypatch.setattr("nand_core.detectors.backbones.build_backbone", lambda *_: Stem())
    found = detector(backbone="timm:stem.mean", crop=crop)
    assert found.needs == frozenset()
    found.fit([Batch([striped(), striped()], ["a", "b"])])
    maps = found.maps(Batch([striped(), striped((40, 20, 48, 28))], ["c", "d"]))
    assert maps.shape == (2, 256, 256) and maps.dtype == torch.float32
    assert 10 * maps[0].max() < maps[1].max()
    row, column = divmod(maps[1].argmax().item(), 256)
    assert abs(row - 24 * 4) < 12 and abs(column - 44 * 4) < 12
    if crop:
        assert maps[1, :16].max() == 0


def test_no_good_images(vlm):
    with pytest.raises(NandError, match="no good image of class 'bottle'"):
        detector(vlm).fit([])


def test_features_that_are_not_finite(monkeypatch):
    broken = Stem()
    broken.layer3 = torch.nn.Sequential(torch.nn.AvgPool2d(2), torch.nn.Threshold(torch.inf, torch.nan))
    monkeypatch.setattr("nand_core.detectors.backbones.build_backbone", lambda *_: broken)
    with pytest.raises(NandError, match="class 'bottle' are not finite"):
        detector(backbone="timm:stem.mean").fit([Batch([striped()])])


def test_no_subspace_yet(vlm):
    with pytest.raises(NandError, match="subspace: there is none yet"):
        detector(vlm).maps(Batch(images("img0"), vlm=vlm))


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"mean": torch.zeros(3)},
        {"mean": torch.zeros(3), "components": torch.zeros(2, 4)},
        {"mean": torch.zeros(3), "components": torch.zeros(3)},
        {"mean": torch.tensor(0.0), "components": torch.zeros(1, 1)},
        {"bank": torch.zeros(3, 5)},
    ],
)
def test_states_that_do_not_fit(state):
    with pytest.raises(NandError, match="detector state"):
        detector().load_state(state)


def test_a_subspace_of_another_backbone(vlm):
    other = detector(vlm)
    other.load_state({"mean": torch.zeros(5), "components": torch.zeros(2, 5)})
    with pytest.raises(NandError, match="vectors of 5, the images give 144"):
        other.maps(Batch(images("img0"), vlm=vlm))


def test_blocks_that_the_encoder_does_not_give(vlm):
    with pytest.raises(NandError, match=r"subspace\.layers: \[4\] not among the encoder's blocks \[3, 6, 9, 12\]"):
        detector(vlm, layers=(4, 6)).fit([Batch(images("ref0"), vlm=vlm)])


@pytest.mark.parametrize(
    "settings",
    [{"variance": 0}, {"variance": 1}, {"variance": float("nan")}, {"coreset": 0.1}, {"layers": ("layer2",)},
     {"crop": 300}],
)  # fmt: skip
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        SubspaceSettings(**settings)


def test_a_backbone_that_cannot_be_loaded_names_the_section():
    settings = {"backbone": "torchvision:resnet19.IMAGENET1K_V1"}
    with pytest.raises(NandError, match=r"^subspace\.backbone: .*set subspace\.weights"):
        detector(**settings).maps(Batch([striped()]))
