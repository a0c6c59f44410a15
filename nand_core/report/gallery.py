"""The images that show what an addition did: those it was meant for, and those that it spoiled."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from nand_core.artifacts.verified import verified
from nand_core.datasets.images import read_image, read_masks
from nand_core.datasets.manifest import deep_bits, read_files
from nand_core.decision import Claim, final_maps, good_level
from nand_core.report.inputs import ReportInputs
from nand_core.report.panels import ANOMALY, SUPPRESSION, fitted, heat, mask_panel, photo
from nand_core.report.strips import MapsById
from nand_core.settings import ReportSettings, Rule


@dataclass(frozen=True)
class Panel:
    """One picture: its title, its data URI ("" for a missing mask) and its size in pixels."""

    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """One image with its maps.

    ``rank_before`` and ``rank_after`` are the shares of the class's good test images, in percent, that score
    lower than this image: a score has no unit, but its place among the good ones says what it means.
    """

    id: str
    type: str
    score_before: float
    score_after: float
    rank_before: float
    rank_after: float
    panels: list[Panel]


def most_changed(scores: pd.DataFrame, group: str, groups: dict[str, str], count: int) -> pd.DataFrame:
    """The rows of the added group's images whose score fell most.

    Args:
        scores: score rows of one detector, class and group.
        groups: image id -> group.
    """
    rows = scores[scores["id"].map(groups) == group]
    fall = rows["score_before"] - rows["score_after"]
    return _largest(rows, fall, count)


def most_spoiled(scores: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows of still abnormal images that lost the largest part of their score."""
    rows = scores[(scores["label"] == 1) & (scores["score_before"] > 0)]
    return _largest(rows, 1 - rows["score_after"] / rows["score_before"], count)


def _largest(rows: pd.DataFrame, fall: pd.Series, count: int) -> pd.DataFrame:
    ordered = rows.assign(fall=fall).sort_values(["fall", "id"], ascending=[False, True])
    return ordered[ordered["fall"] > 0].head(count)


class Gallery:
    """Examples of a run; images and masks are encoded once, however many detectors show them."""

    def __init__(self, inputs: ReportInputs, settings: ReportSettings) -> None:
        self.inputs, self.settings = inputs, settings
        self._pictures: dict[str, list[Panel]] = {}
        self._checked: set[tuple[int, ...]] = set()

    @cached_property
    def _images(self) -> dict[Hashable, dict[Hashable, Any]]:
        return self.inputs.manifest.set_index("path", drop=False).to_dict("index")

    @cached_property
    def groups(self) -> dict[str, str]:
        return dict(zip(self.inputs.manifest["path"], self.inputs.manifest["group"], strict=True))

    def examples(self, detector: str, class_name: str, group: str) -> tuple[list[Example], list[Example]]:
        """The most changed of the group's images, and the most spoiled of the other anomalies."""
        table = self.inputs.scores
        own = (table["detector"] == detector) & (table["class"] == class_name) & (table["group"] == group)
        scores = table[own]
        chosen = most_changed(scores, group, self.groups, self.settings.gallery)
        spoiled = most_spoiled(scores, self.settings.gallery)
        if not len(chosen) + len(spoiled):
            return [], []
        base = self._maps(self.inputs.artifacts / "base_maps" / detector / f"{class_name}.npz")
        suppression = self._maps(self.inputs.artifacts / "suppression" / class_name / f"{group}.npz")
        others = sorted((self.inputs.artifacts / "rivals" / class_name).glob("*.npz"))
        rivals = [self._maps(path) for path in others if path.name != f"{group}.npz"]
        good = scores[scores["type"] == "good"]
        rule = self.inputs.evaluation.rule(good_level(good["score_before"]))

        def example(row: Mapping[Hashable, Any]) -> Example:
            before, after = row["score_before"], row["score_after"]
            return Example(
                row["id"],
                row["type"],
                before,
                after,
                _share_below(good["score_before"], before),
                _share_below(good["score_after"], after),
                self._panels(row["id"], base[row["id"]], _claim(suppression, rivals, row["id"]), rule),
            )

        found = (
            [example(row) for row in chosen.to_dict("records")],
            [example(row) for row in spoiled.to_dict("records")],
        )
        for maps in (base, suppression, *rivals):
            # One file serves many groups: it is hashed again only where somebody has touched it.
            if (version := maps.file.version) not in self._checked:
                maps.file.check()
                self._checked.add(version)
        return found

    def _maps(self, path: Path) -> MapsById:
        return MapsById(path, self.inputs.digests.get(path.as_posix()))

    def _panels(self, image_id: str, anomaly: np.ndarray, claim: Claim, rule: Rule) -> list[Panel]:
        final = final_maps(torch.from_numpy(anomaly)[None], [claim], rule)[0].numpy()
        pictures = self._photo_and_mask(image_id)
        size, top = (pictures[0].width, pictures[0].height), float(anomaly.max())
        maps = [
            ("A", anomaly, top, ANOMALY),
            ("A_sup", claim.suppression[0].numpy(), 1.0, SUPPRESSION),
            ("A_final", final, top, ANOMALY),
        ]
        quality = self.settings.quality
        return pictures + [
            Panel(name, heat(m, most, ramp, size, quality), *size) for name, m, most, ramp in maps
        ]

    def _photo_and_mask(self, image_id: str) -> list[Panel]:
        if image_id not in self._pictures:
            row, root = self._images[image_id], self.inputs.data_root
            file = verified(root / image_id, row["sha256"])
            image = read_image(root / image_id, file, deep_bits(self.inputs.manifest))
            size = fitted(image.size, self.settings.panel)
            picture = photo(image, self.settings.panel, self.settings.quality)
            mask = ""
            if row["mask"]:
                found = read_masks(read_files(root, row["mask"], row["mask_sha256"]), image.size)
                mask = mask_panel(found, self.settings.panel)
            self._pictures[image_id] = [Panel("image", picture, *size), Panel("mask", mask, *size)]
        return self._pictures[image_id]


def _claim(suppression: MapsById, rivals: Sequence[MapsById], image_id: str) -> Claim:
    """Of one image."""
    own, *others = (torch.from_numpy(maps[image_id])[None] for maps in (suppression, *rivals))
    return Claim(own, tuple(others))


def _share_below(scores: pd.Series, score: float) -> float:
    """Percent of ``scores`` below ``score``; nan where there are none."""
    return float((scores < score).mean() * 100) if len(scores) else float("nan")
