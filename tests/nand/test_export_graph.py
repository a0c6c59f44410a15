"""The exported graph beside the judge that it was traced from, on files of every kind.

PatchCore's is compared with its results in ``tests/flows/test_same_scores.py``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from oracle_data import Batch, tiny_vlm
from patch_data import Stem, striped
from PIL import Image
from torch import nn

from flows.inbox import judge as inbox
from flows.inbox.judge import Judge
from nand.export.graph import Graph, onnx_model, views
from nand.export.parity import Results, apart
from nand_core.adaptation.targets import defect_kinds
from nand_core.asked import Asked, Held
from nand_core.datasets.images import read_image
from nand_core.detectors.backbones import Modules
from nand_core.detectors.base import Context
from nand_core.detectors.build import build_detector
from nand_core.detectors.settings import AprilGanSettings, SubspaceSettings, WinCLIPSettings
from nand_core.errors import NandError
from nand_core.examples import Shown, learn_good, patch_vectors, picture_patches, shown_by
from nand_core.meaning import Kinds
from nand_core.regions import regions
from nand_core.settings import ExampleSettings, RegionSettings, Rule, SuppressionSettings
from nand_core.vlm.encoder import load_vlm
from nand_core.vlm.settings import EncoderSettings
from nand_runtime import Inspector, Judged

GOOD = [striped(), striped().rotate(180), striped().transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
EXAMPLES = ExampleSettings(none=0.1, whole=0.5, meaning=4)


@cache
def vlm():
    return tiny_vlm(112)


@cache
def pair():
    return load_vlm(EncoderSettings(model="efficientnet_lite0+embedded", device="cpu"))


def text(words: str, encoder=vlm) -> torch.Tensor:
    return encoder().encode_text([words])[0]


def asked(words: str, *others: str, encoder=vlm) -> Asked:
    f_add, f_nor, *rest = (tuple(text(one, encoder).tolist()) for one in (words, "plain", *others))
    return Asked(words, f_add, f_nor, tuple(rest))


@cache
def good(encoder=vlm):
    features = encoder().encode_images(torch.stack([encoder().preprocess(one) for one in GOOD]))
    return learn_good([patch_vectors(features.layers)], len(GOOD), EXAMPLES)


def shown(box, unlike=None, encoder=vlm) -> Shown:
    kinds = Kinds(defect_kinds(encoder(), "carpet"), 2)

    def pictured(place):
        return picture_patches(encoder(), striped(place), None, good(encoder), EXAMPLES, kinds=kinds)

    return shown_by([pictured(box)], [pictured(unlike)] if unlike else [], good(encoder).level, EXAMPLES, kinds)


def by_text_and_examples(encoder=vlm) -> tuple[Held, ...]:
    stain, dust = asked("a red stain", "a hole", encoder=encoder), asked("dust", encoder=encoder)
    return (Held("stain", stain, shown((20, 20, 40, 40), (2, 40, 12, 60), encoder), (dust,)),)


def by_text() -> tuple[Held, ...]:
    return (Held("stain", asked("a red stain", "a hole")),)


def judged(detector_settings, held=(), rule=None, own=None, encoder=vlm) -> Judge:
    context = Context("carpet", encoder, lambda: (text("a photo", encoder), text("a damaged photo", encoder)))
    detector = build_detector("one", detector_settings, context)
    if own is not None:
        detector._features._backbone = own
    if detector.trained:
        detector.fit([Batch(GOOD, vlm=encoder())])
    rule = rule or Rule(regions=RegionSettings(none=0.05, whole=0.5, alone=0.6))
    reference = good(encoder)
    make = Judge("one", detector, encoder, held, SuppressionSettings(dilation=3), rule, 1.0, 1.0, reference, EXAMPLES)
    level = np.median([one.score_before for one in make("abc", GOOD)])
    return Judge(**{**vars(make), "rule": rule.model_copy(update={"level": float(level)})})


CASES = {
    "april_gan": lambda: judged(AprilGanSettings(size=128), by_text_and_examples()),
    "subspace on a network of its own": lambda: judged(
        SubspaceSettings(device="cpu", backbone="torchvision:x.y", resize=64, crop=56),
        by_text(),
        Rule(regions=None),
        own=Modules(Stem(), ("layer2", "layer3"), 64, 56, torch.device("cpu")),
    ),
    "subspace on a pair of encoders": lambda: judged(
        SubspaceSettings(device="cpu"), by_text_and_examples(pair), encoder=pair
    ),
    "winclip": lambda: judged(WinCLIPSettings(shots=1, scales=(2,))),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list:
    """Odd sizes, grey, palette, transparency, 16 bits a channel, and EXIF's rotations."""
    folder, pictures = tmp_path_factory.mktemp("images"), {}
    for number, box in enumerate([None, (20, 20, 40, 40), (4, 40, 14, 62), (30, 2, 52, 20), (0, 0, 64, 30)]):
        pictures[f"{number}.png"] = striped(box).resize((61 + 37 * number, 149 - 23 * number))
    grey, coloured = striped((8, 8, 30, 24)).convert("L"), striped((8, 8, 30, 24))
    pictures |= {"grey.png": grey, "palette.png": coloured.quantize(16), "alpha.png": coloured.convert("RGBA")}
    pictures |= {"deep.png": Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)}
    for name, picture in pictures.items():
        picture.save(folder / name)
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        coloured.resize((90, 50)).save(folder / f"turned{orientation}.jpg", exif=exif)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_the_judge_for_every_kind_of_file(name, files, tmp_path):
    judge = CASES[name]()
    pictures = [read_image(path) for path in files]
    verdicts = [judge([path.name], [picture])[0] for path, picture in zip(files, pictures, strict=True)]
    limits = (
        apart(float(np.median([one.score_before for one in verdicts])), [one.score_before for one in verdicts]),
        apart(float(np.median([one.score_after for one in verdicts])), [one.score_after for one in verdicts]),
    )
    inputs = views(judge)
    said: dict[str, object] = {"bits": 16, "inputs": {key: asdict(view) for key, view in inputs.items()}}
    model = onnx_model(Graph(judge, limits), inputs, {"nand": json.dumps(said)})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    inspector = Inspector(tmp_path / "model.onnx")
    lowered = 0
    for path, picture, verdict in zip(files, pictures, verdicts, strict=True):
        found = inspector(path)
        before = judge.maps(inbox.Batch([""], [picture], judge.vlm))[0][0].numpy()
        np.testing.assert_allclose(found.map_before, before, atol=1e-4 * before.max())
        np.testing.assert_allclose(found.map_after, verdict.adapted, atol=1e-4 * before.max())
        assert found.score_before == pytest.approx(verdict.score_before, rel=1e-4)
        assert found.score_after == pytest.approx(verdict.score_after, rel=1e-4)
        assert found.alarm_before == (verdict.score_before > limits[0])
        assert found.alarm_after == (verdict.score_after > limits[1])
        lowered += verdict.score_after < verdict.score_before
    assert bool(lowered) == bool(judge.normalities)


def test_regions_in_a_graph_are_the_pipelines(tmp_path):
    class Module(nn.Module):
        def forward(self, maps):
            return regions(maps, 0.5)[:2]

    shape = 2, 48, 40
    file = str(tmp_path / "regions.onnx")
    with torch.no_grad():
        torch.onnx.export(Module().eval(), (torch.zeros(shape),), file, dynamo=True, verbose=False, optimize=False)
    session = onnxruntime.InferenceSession(file)
    snake = np.zeros(shape[1:])
    snake[::2], snake[1::4, -1], snake[3::4, 0] = 1, 1, 1
    draw = np.random.default_rng(0)
    noise = [draw.random(shape[1:]) < share for share in (0.1, 0.3, 0.45, 0.6)]
    for kind in (np.zeros_like(snake), np.ones_like(snake), snake, *noise):
        maps = np.stack([kind, np.flip(kind)]).astype(np.float32)
        places, numbers = session.run(None, {session.get_inputs()[0].name: maps})
        inside, of, count = regions(torch.from_numpy(maps), 0.5)
        np.testing.assert_array_equal(places, inside)
        pairs = set(zip(numbers.tolist(), of.tolist(), strict=True))
        assert len(pairs) == len({number for number, _ in pairs}) == count
        assert (numbers > 0).all() and (numbers <= maps.size).all()


class Saved:
    """Maps of a file."""

    def __init__(self, maps: np.ndarray) -> None:
        self.maps, self.ids = maps, [f"{number}.png" for number in range(len(maps))]

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, position: int) -> np.ndarray:
        return self.maps[position]


def test_a_model_that_is_not_the_pipeline_is_refused(tmp_path):
    maps = np.linspace(1, 3, 3, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    for number in range(3):
        Image.new("L", (2, 2), number).save(tmp_path / f"{number}.png")
    results = Results(Saved(maps), np.array([0.5, np.nan, 3.0]), (2.0, 0.5))

    def answers(change=0.0, alarm=True):
        def inspect(image):
            number = image.getpixel((0, 0))[0]
            before, after = number + 1.0, [0.5, 9.0, 3.0][number]
            return Judged(before, after, before > 2, alarm and after > 0.5, maps[number] + change, maps[number])

        return inspect

    assert results.difference(answers(), tmp_path, None) == 0
    assert 0 < results.difference(answers(5e-5), tmp_path, None) < 1e-4
    with pytest.raises(NandError, match=r"^0.png: .* off the results; have the images changed"):
        results.difference(answers(1e-3), tmp_path, None)
    with pytest.raises(NandError, match=r"^2.png: the score 3 is too near the threshold 0.5"):
        results.difference(answers(alarm=False), tmp_path, None)


def test_a_threshold_stays_between_the_score_that_it_is_and_the_next():
    assert apart(2.0, [1.0, 2.0, 3.0]) == pytest.approx(2.0002)
    assert 2 < apart(2.0, [2.0, 2.0001]) < 2.0001
    assert apart(0.0, [0.0]) == 0


def test_a_file_that_is_no_model_is_named(tmp_path):
    with pytest.raises(NandError, match=r"a\.onnx: no model that 'nand export' made \(no such file\)"):
        Inspector(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(NandError, match=r"a\.onnx: no model that 'nand export' made \("):
        Inspector(tmp_path / "a.onnx")
