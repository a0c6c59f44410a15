"""The registry of detectors, and detectors from elsewhere."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch
from oracle_data import Batch, images, tiny_settings, tiny_vlm
from pydantic import TypeAdapter, ValidationError

from nand_core.artifacts.store import digest, sha256_file
from nand_core.detectors import outside
from nand_core.detectors.base import Context, Untrained, check_maps
from nand_core.detectors.build import build_detector, detector_digest
from nand_core.detectors.settings import DetectorSettings, detector_encoder
from nand_core.errors import NandError
from nand_core.normality import resize_maps

CONTEXT = Context("bottle", None, None)


def settings(**values):
    return TypeAdapter(DetectorSettings).validate_python(values)


class Constant(Untrained):
    """A plugin that gives the same value everywhere."""

    needs = frozenset()

    def __init__(self, options, context):
        self.value = options["value"]

    def maps(self, batch):
        return torch.full((len(batch.ids), 2, 2), self.value, dtype=torch.float64)


def no_detector(options, context):
    return object()


@pytest.fixture
def plugins(monkeypatch):
    group = "nand.detectors"
    offered = EntryPoints(
        [
            EntryPoint("constant", f"{__name__}:Constant", group),
            EntryPoint("nothing", f"{__name__}:no_detector", group),
            EntryPoint("gone", "no_such_package:Detector", group),
        ]
    )
    monkeypatch.setattr(outside, "entry_points", lambda group: offered.select(group=group))


@pytest.mark.parametrize(
    ("kind", "trained", "needs"),
    [
        ({"kind": "april_gan"}, False, {"features", "text", "vlm", "heads"}),
        ({"kind": "winclip"}, False, {"vlm"}),
        ({"kind": "winclip", "shots": 5}, True, {"vlm"}),
        ({"kind": "patchcore", "device": "cpu"}, True, {"features"}),
        ({"kind": "patchcore", "device": "cpu", "backbone": "timm:wide_resnet50_2.tv_in1k"}, True, set()),
        ({"kind": "subspace", "device": "cpu"}, True, {"features"}),
        ({"kind": "subspace", "device": "cpu", "layers": [2, 4]}, True, {"features", "vlm"}),
        ({"kind": "subspace", "device": "cpu", "backbone": "timm:wide_resnet50_2.tv_in1k"}, True, set()),
        ({"kind": "external", "maps": "maps/{class}.npz"}, False, set()),
    ],
)
def test_detectors_say_what_they_take_and_load_nothing(kind, trained, needs):
    detector = build_detector("mine", settings(**kind), CONTEXT)
    assert detector.trained is trained and detector.needs == needs


def test_unknown_kinds_and_keys_are_refused():
    with pytest.raises(ValidationError, match=r"april_gan.*patchcore.*subspace.*winclip"):
        settings(kind="padim")
    with pytest.raises(ValidationError, match="shot"):
        settings(kind="winclip", shot=1)


def test_a_detector_may_have_an_encoder_of_its_own():
    shared, own = tiny_settings(112), tiny_settings(160)
    assert detector_encoder(settings(kind="april_gan"), shared) is shared
    assert detector_encoder(settings(kind="winclip"), shared) is shared
    winclip = settings(kind="winclip", encoder=own.model_dump())
    assert detector_encoder(winclip, shared) == own
    assert detector_digest(winclip, "bottle", [])["pretrained"] == sha256_file(own.pretrained)
    assert detector_digest(settings(kind="winclip"), "bottle", []) == {}


@pytest.mark.parametrize("kind", ["patchcore", "subspace"])
def test_the_weights_of_a_backbone_are_part_of_its_digest(tmp_path, kind):
    name, file = "torchvision:resnet18.IMAGENET1K_V1", tmp_path / "resnet18.pth"
    file.write_bytes(b"weights")
    assert detector_digest(settings(kind=kind), "bottle", []) == {}
    assert detector_digest(settings(kind=kind, backbone=name), "bottle", []) == {"weights": name}
    own = settings(kind=kind, backbone=name, weights=str(file))
    assert detector_digest(own, "bottle", []) == {"weights": sha256_file(file)}
    with pytest.raises(NandError, match="sha256"):
        detector_digest(own.model_copy(update={"sha256": "0" * 64}), "bottle", [])


def test_april_gan_without_linear_layers_says_so():
    vlm = tiny_vlm(112, linear_layers=None)
    text = (torch.ones(32), torch.ones(32))
    detector = build_detector(
        "zero", settings(kind="april_gan"), Context("bottle", lambda: vlm, lambda: text)
    )
    with pytest.raises(NandError, match=r"encoder\.linear_layers"):
        detector.maps(Batch(images("img0"), vlm=vlm))


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_april_gan_maps_of_another_size_and_combination(combine):
    vlm = tiny_vlm(112)
    text = vlm.encode_text(["a bottle", "a damaged bottle"]).unbind()
    batch = Batch(images("img0"), vlm=vlm)
    context = Context("bottle", lambda: vlm, lambda: text)
    maps = build_detector("zero", settings(kind="april_gan", combine=combine, size=64), context).maps(batch)
    whole = build_detector("zero", settings(kind="april_gan"), context).maps(batch)
    assert maps.shape == (1, 64, 64) and maps.max() <= 1
    assert whole.shape == (1, 112, 112) and 1 < whole.max() <= 4


def test_the_class_token_gives_the_score_and_the_map_says_where():
    vlm = tiny_vlm(112)
    text = vlm.encode_text(["a bottle", "a damaged bottle"]).unbind()
    batch = Batch(images("img0", "img1"), vlm=vlm)
    context = Context("bottle", lambda: vlm, lambda: text)
    detector = build_detector("zero", settings(kind="april_gan", score="class_token"), context)
    maps, plain = detector.maps(batch), build_detector("zero", settings(kind="april_gan"), context).maps(batch)
    assert maps.shape == (2, 256, 256)
    torch.testing.assert_close(maps.amax(dim=(1, 2)), detector.image_scores(batch))
    share = resize_maps(plain) / resize_maps(plain).amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(maps / maps.amax(dim=(1, 2), keepdim=True), share)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.zeros(3, 4, 4), "for 2 images"),
        (torch.zeros(2, 1, 4, 4), "for 2 images"),
        (torch.stack([torch.zeros(4, 4), torch.full((4, 4), torch.nan)]), "mine: the map of b.png is not finite"),
        (torch.full((2, 4, 4), -0.5), "mine: the map of a.png has -0.5, below 0"),
    ],
)
def test_maps_that_cannot_be_suppressed(maps, message):
    with pytest.raises(NandError, match=message):
        check_maps(maps, ["a.png", "b.png"], "mine")


def test_plugins_are_found_by_their_entry_point(plugins):
    plugin = settings(kind="plugin", name="constant", options={"value": 0.5})
    maps = build_detector("mine", plugin, CONTEXT).maps(Batch([], ["a", "b"]))
    assert maps.dtype == torch.float32 and torch.equal(maps, torch.full((2, 2, 2), 0.5))
    sources = digest({Path(__file__).name: sha256_file(Path(__file__))})
    assert detector_digest(plugin, "bottle", []) == {"plugin": f"{__name__}:Constant", "sources": sources}
    negative = settings(kind="plugin", name="constant", options={"value": -1.0})
    with pytest.raises(NandError, match=r"mine: .*below 0"):
        build_detector("mine", negative, CONTEXT).maps(Batch([], ["a"]))


def test_files_that_a_plugin_reads_are_part_of_its_digest(plugins, tmp_path):
    options = {"value": 0.5, "checkpoint": f"{tmp_path}/{{class}}.ckpt", "mode": "fast"}
    plugin = settings(kind="plugin", name="constant", options=options)
    assert detector_digest(plugin, "bottle", []).keys() == {"plugin", "sources"}
    (tmp_path / "bottle.ckpt").write_bytes(b"weights")
    assert detector_digest(plugin, "bottle", [])["checkpoint"] == sha256_file(tmp_path / "bottle.ckpt")
    assert detector_digest(plugin, "cable", []).keys() == {"plugin", "sources"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("konstant", "did you mean 'constant'"),
        ("gone", "cannot be imported"),
        ("nothing", "made a detector without needs, trained"),
    ],
)
def test_plugins_that_do_not_work(plugins, name, message):
    with pytest.raises(NandError, match=message):
        build_detector("mine", settings(kind="plugin", name=name), CONTEXT)
