"""A judge as one ONNX graph: what it computes is traced, not written again."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxscript import opset18
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from torch import Tensor, nn

from nand_core.normality import image_score
from nand_core.view import View
from nand_core.vlm.features import ImageFeatures

if TYPE_CHECKING:

    from flows.inbox.judge import Judge

OPSET = 18
opset: Any = opset18  # its types know every kind of tensor
IMAGE, SEEN = "image", "detector_image"
"""Inputs: what the shared encoder sees of an image, and what a detector with a network of its own sees."""
OUTPUTS = ("score_before", "score_after", "alarm_before", "alarm_after", "map_before", "map_after")


def views(judge: Judge) -> dict[str, View]:
    """The graph's inputs."""
    own = judge.detector.view()  # type: ignore[attr-defined]  # of those that can be exported
    return {IMAGE: judge.vlm().view, **({SEEN: own} if own not in (None, judge.vlm().view) else {})}


def blank(inputs: Mapping[str, View]) -> dict[str, Tensor]:
    """Black pixels for each of the inputs."""
    return {name: torch.zeros(view.side, view.side, 3, dtype=torch.uint8) for name, view in inputs.items()}


class Graph(nn.Module):
    """Of pixels (S, S, 3) uint8, one image for each of ``views``, what ``OUTPUTS`` names.

    Args:
        thresholds: scores above these raise an alarm, before and after the normalities.
    """

    def __init__(self, judge: Judge, thresholds: tuple[float, float]) -> None:
        super().__init__()
        self._judge, self._thresholds = judge, thresholds
        with torch.no_grad():  # what is made once for all images is made now, and is a constant of the graph
            self(**blank(views(judge)))

    def forward(self, image: Tensor, detector_image: Tensor | None = None) -> tuple[Tensor, ...]:
        """Scores () float32, alarms () bool, maps (256, 256) float32."""
        found = self._judge.maps(_Traced(self._judge, image, image if detector_image is None else detector_image))
        scores = [image_score(one)[0] for one in found]
        alarms = [score.double() > limit for score, limit in zip(scores, self._thresholds, strict=True)]
        return (*scores, *alarms, *(one[0] for one in found))


class _Traced:
    """A batch of one image that is yet to come."""

    ids: Sequence[str] = ("image",)

    def __init__(self, judge: Judge, image: Tensor, seen: Tensor) -> None:
        self._judge, self._image, self._seen = judge, image, seen
        self._features: ImageFeatures | None = None

    def images(self) -> list[Any]:
        """The pixels of the detector's view."""
        return [self._seen]

    def features(self) -> ImageFeatures:
        if self._features is None:
            vlm = self._judge.vlm()
            self._features = vlm.encode_images(vlm.preprocess(self._image)[None])
        return self._features


def _softmax(values: Any, dim: int, dtype: int = -1) -> Any:
    """Out of its parts: over another dimension than the last it is several times faster in onnxruntime."""
    axes = opset.Constant(value_ints=[dim])
    parts = opset.Exp(opset.Sub(values, opset.ReduceMax(values, axes, keepdims=1)))
    return opset.Div(parts, opset.ReduceSum(parts, axes, keepdims=1))


def onnx_model(graph: Graph, inputs: Mapping[str, View], metadata: Mapping[str, str]) -> Any:
    """The graph as an ``onnx.ModelProto``."""
    pixels = blank(inputs)
    with torch.no_grad(), _quietly():
        program = torch.export.export(graph.eval(), (), pixels, strict=False)
        made: Any = torch.onnx.export(
            program,
            (),
            kwargs=pixels,
            dynamo=True,
            opset_version=OPSET,
            output_names=list(OUTPUTS),
            custom_translation_table={torch.ops.aten.softmax.int: _softmax},
            optimize=False,  # most of its time goes into what onnxruntime does again as it loads the model
            verbose=False,
        )
        fold_constants(made.model)
        remove_unused_nodes(made.model)
        ClearMetadataAndDocStringPass()(made.model)  # lines and folders of this machine
    made.model.metadata_props.update(metadata)
    return made.model_proto


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter tells those who develop it."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
