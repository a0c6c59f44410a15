"""The registry of detectors, and detectors from elsewhere."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
import torch
from oracle_data import Batch, images, tiny_settings, tiny_vlm
from pydantic import TypeAdapter, ValidationError

from nand_core.artifacts.store import sha256_file
from nand_core.detectors import external
from nand_core.detectors.base import Context, Untrained, check_maps
from nand_core.detectors.build import build_detector, detector_digest
from nand_core.detectors.settings import DetectorSettings, detector_encoder
from nand_core.errors import NandError

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
    monkeypatch.setattr(external, "entry_points", lambda group: offered.select(group=group))


@pytest.mark.parametrize(
    ("kind", "trained", "needs"),
    [
        ({"kind": "april_gan"}, False, {"features", "text", "vlm"}),
        ({"kind": "winclip"}, False, {"vlm"}),
        ({"kind": "winclip", "shots": 5}, True, {"vlm"}),
        ({"kind": "patchcore", "device": "cpu"}, True, {"features"}),
        ({"kind": "patchcore", "device": "cpu", "backbone": "timm:wide_resnet50_2.tv_in1k"}, True, set()),
        ({"kind": "external", "maps": "maps/{class}.npz"}, False, set()),
    ],
)
def test_detectors_say_what_they_take_and_load_nothing(kind, trained, needs):
    detector = build_detector("mine", settings(**kind), CONTEXT)
    assert detector.trained is trained and detector.needs == needs


def test_unknown_kinds_and_keys_are_refused():
    with pytest.raises(ValidationError, match="april_gan.*patchcore.*winclip"):
        settings(kind="padim")
    with pytest.raises(ValidationError, match="shot"):
        settings(kind="winclip", shot=1)


def test_a_detector_may_have_an_encoder_of_its_own():
    shared, own = tiny_settings(112), tiny_settings(160)
    assert detector_encoder(settings(kind="april_gan"), shared) is shared
    assert detector_encoder(settings(kind="winclip"), shared) is shared
    winclip = settings(kind="winclip", encoder=own.model_dump())
    assert detector_encoder(winclip, shared) == own
    assert detector_digest(winclip, "bottle")["pretrained"] == sha256_file(own.pretrained)
    assert detector_digest(settings(kind="winclip"), "bottle") == {}


def test_april_gan_without_linear_layers_says_so():
    vlm = tiny_vlm(112, linear_layers=None)
    text = (torch.ones(32), torch.ones(32))
    detector = build_detector(
        "zero", settings(kind="april_gan"), Context("bottle", lambda: vlm, lambda: text)
    )
    with pytest.raises(NandError, match="encoder.linear_layers"):
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


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.zeros(3, 4, 4), "for 2 images"),
        (torch.zeros(2, 1, 4, 4), "for 2 images"),
        (torch.full((2, 4, 4), torch.nan), "not finite"),
        (torch.full((2, 4, 4), -0.5), "mine: gave a map with -0.5, below 0"),
    ],
)
def test_maps_that_cannot_be_suppressed(maps, message):
    with pytest.raises(NandError, match=message):
        check_maps(maps, 2, "mine")


def save_maps(path, ids=("b.png", "a.png"), maps=((1.0, -2.0), (3.0, 4.0))):
    np.savez(path, ids=np.array(ids), maps=np.array(maps)[:, None])


def test_saved_maps_are_found_by_id(tmp_path):
    save_maps(tmp_path / "bottle.npz")
    saved = settings(kind="external", maps=f"{tmp_path}/{{class}}.npz", offset=2)
    detector = build_detector("saved", saved, CONTEXT)
    maps = detector.maps(Batch([], ["a.png", "b.png"]))
    assert maps.dtype == torch.float32 and maps.tolist() == [[[5, 6]], [[3, 0]]]
    assert detector_digest(saved, "bottle") == {"maps": sha256_file(tmp_path / "bottle.npz")}
    with pytest.raises(NandError, match="no map for c.png"):
        detector.maps(Batch([], ["a.png", "c.png"]))


def test_negative_saved_maps_are_refused(tmp_path):
    save_maps(tmp_path / "bottle.npz")
    detector = build_detector("saved", settings(kind="external", maps=f"{tmp_path}/bottle.npz"), CONTEXT)
    with pytest.raises(NandError, match="saved: gave a map with -2, below 0"):
        detector.maps(Batch([], ["a.png", "b.png"]))


def test_files_that_are_no_saved_maps(tmp_path):
    path = tmp_path / "bottle.npz"
    detector = build_detector("saved", settings(kind="external", maps=str(path)), CONTEXT)
    with pytest.raises(NandError, match="no saved maps"):
        detector.maps(Batch([], ["a.png"]))
    with pytest.raises(NandError, match="no saved maps for class 'bottle'"):
        detector_digest(settings(kind="external", maps=str(path)), "bottle")
    path.write_bytes(b"not an archive")
    with pytest.raises(NandError, match="not a file of maps"):
        detector.maps(Batch([], ["a.png"]))
    save_maps(path, ids=("a.png",))
    with pytest.raises(NandError, match="expected .n, H, W. and n strings"):
        detector.maps(Batch([], ["a.png"]))


def test_pickled_arrays_are_not_read(tmp_path):
    path = tmp_path / "bottle.npz"
    np.savez(path, ids=np.array(["a.png"], dtype=object), maps=np.zeros((1, 2, 2)))
    detector = build_detector("saved", settings(kind="external", maps=str(path)), CONTEXT)
    with pytest.raises(NandError, match="not a file of maps"):
        detector.maps(Batch([], ["a.png"]))


def test_plugins_are_found_by_their_entry_point(plugins):
    plugin = settings(kind="plugin", name="constant", options={"value": 0.5})
    maps = build_detector("mine", plugin, CONTEXT).maps(Batch([], ["a", "b"]))
    assert maps.dtype == torch.float32 and torch.equal(maps, torch.full((2, 2, 2), 0.5))
    assert detector_digest(plugin, "bottle") == {"plugin": f"{__name__}:Constant"}
    negative = settings(kind="plugin", name="constant", options={"value": -1.0})
    with pytest.raises(NandError, match="mine: .*below 0"):
        build_detector("mine", negative, CONTEXT).maps(Batch([], ["a"]))


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
