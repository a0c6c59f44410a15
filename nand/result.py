"""What a normality does to a detector's maps, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nand.images import Encoded
from nand_core.report.panels import ANOMALY, SUPPRESSION, coloured, levels

GAP = 8
TITLE = 22
INK, PAPER = "#1c1c1c", "#ffffff"


@dataclass(frozen=True, repr=False)
class Result:
    """Maps and scores of n images before and after the suppression of all normalities together.

    Attributes:
        anomaly: A, the detector's maps, (n, 256, 256) float32.
        suppression: A_sup, (n, 256, 256) float32 in [0, 1]; 0 where nothing was added.
        maps: A_final (``nand_core.decision.final_maps``), (n, 256, 256) float32, nowhere above A.
        scores_before, scores_after: the maxima of A and of A_final, (n,) float64.
        unknown_words: for each text with some, the words of its phrases that the text encoder has never seen: what
            they mean has no effect.
        encoded: the images.
    """

    anomaly: NDArray[np.float32]
    suppression: NDArray[np.float32]
    maps: NDArray[np.float32]
    scores_before: NDArray[np.float64]
    scores_after: NDArray[np.float64]
    unknown_words: Mapping[str, tuple[str, ...]]
    encoded: Encoded = field(repr=False)

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        before, after = self.scores_before.mean(), self.scores_after.mean()
        return f"{type(self).__name__}({len(self)} images, mean score {before:.4g} -> {after:.4g})"

    def figure(self, index: int, *, size: int = 256, top: float | None = None) -> Image.Image:
        """One image's picture: the image, A, A_sup and A_final side by side.

        Args:
            size: side of each panel in pixels.
            top: value of A and A_final that has the brightest colour; by default the image's own maximum of A.
                With one value for several images their colours compare.
        """
        top = float(self.scores_before[index]) if top is None else top
        side = (size, size)
        panels = {
            self.encoded.names[index].rpartition("/")[2]: np.asarray(self.encoded.image(index).resize(side)),
            f"A, score {self.scores_before[index]:.4g}": coloured(levels(self.anomaly[index], top, side), ANOMALY),
            "A_sup, 0 to 1": coloured(levels(self.suppression[index], 1.0, side), SUPPRESSION),
            f"A_final, score {self.scores_after[index]:.4g}": coloured(levels(self.maps[index], top, side), ANOMALY),
        }
        width = len(panels) * (size + GAP) - GAP
        sheet = Image.new("RGB", (width, TITLE + size), PAPER)
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
        for position, (title, pixels) in enumerate(panels.items()):
            left = position * (size + GAP)
            draw.text((left, 2), title, INK, font)
            sheet.paste(Image.fromarray(pixels), (left, TITLE))
        return sheet
