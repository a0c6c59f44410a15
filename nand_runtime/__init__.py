"""Judge images with a model that ``nand export`` made: NumPy, Pillow and onnxruntime are enough, without torch.

``inspect = Inspector("carpet.onnx"); inspect("000.png").alarm_after``. docs: docs/export.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from nand_core.datasets.images import read_image
from nand_core.errors import NandError
from nand_core.view import View

__all__ = ["Inspector", "Judged", "NandError"]


@dataclass(frozen=True)
class Judged:
    """An image's scores, whether they raise an alarm, and its maps (256, 256) float32, before and after normalities."""

    score_before: float
    score_after: float
    alarm_before: bool
    alarm_after: bool
    map_before: NDArray[np.float32]
    map_after: NDArray[np.float32]


class Inspector:
    """An exported model.

    Attributes:
        description: what ``model.json`` says of it; the model holds it too.

    Raises:
        NandError: the file is no such model.
    """

    def __init__(self, model: str | Path, **options: Any) -> None:
        try:
            options = {"providers": ["CPUExecutionProvider"], **options}
            self.session = onnxruntime.InferenceSession(model, **options)
            self.description = json.loads(self.session.get_modelmeta().custom_metadata_map["nand"])
        except Exception as error:  # onnxruntime has its own for each way in which a file is no model
            reason = str(error) if Path(model).is_file() else "no such file"
            raise NandError(f"{model}: no model that 'nand export' made ({reason})") from error
        self._views = {name: View(**view) for name, view in self.description["inputs"].items()}

    def __call__(self, image: str | Path | Image.Image) -> Judged:
        """What the model says of an image or its file, read as the pipeline reads it; NandError names a bad file."""
        if not isinstance(image, Image.Image):
            image = read_image(image, bits=self.description["bits"])
        names = list(Judged.__annotations__)
        found = self.session.run(names, {name: view.pixels(image) for name, view in self._views.items()})
        return Judged(*(value.item() if value.ndim == 0 else value for value in found))
