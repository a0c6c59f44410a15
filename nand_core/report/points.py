"""The operating points as the page shows them: verdicts, and the percentages that they were made of."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from nand_core.operating import operating_means
from nand_core.verdict import counted

KEPT = ("accepted", "retained", "false_alarms")


class Points:
    """The operating points by detector, class and group; empty where the run has none."""

    def __init__(self, operating: pd.DataFrame | None) -> None:
        self.table = None if operating is None else operating.set_index(["detector", "class", "group"]).sort_index()
        self.detectors = None if operating is None else operating_means(operating).to_dict("index")

    def group(self, *key: str) -> dict[str, Any]:
        """``verdict``, ``lost``, and ``accepted`` and ``retained`` before and after, of (detector, class, group)."""
        if self.table is None:
            return {}
        (row,) = self.table.loc[[key]].to_dict("records")
        return {"verdict": row["verdict"], **_decided(row)}

    def of_class(self, detector: str, name: str) -> dict[str, Any]:
        """The same of a class: ``counts`` of its groups' verdicts in place of one, and means over the groups."""
        if self.table is None:
            return {}
        rows = self.table.loc[(detector, name), :]
        return {"counts": counted(rows["verdict"]), **_decided(rows.mean(numeric_only=True).to_dict())}

    def detector(self, name: str) -> dict[str, Any]:
        """The same of a detector: means over classes."""
        if self.table is None or self.detectors is None:
            return {}
        return {"counts": counted(self.table.loc[name]["verdict"]), **_decided(self.detectors[name])}

    def alarms(self, detector: str) -> dict[str, Any]:
        """A detector's ``false_alarms``, and all rates at the threshold from before the addition, ``..._kept``."""
        if self.detectors is None:
            return {}
        row = self.detectors[detector]
        return _pairs(row, "false_alarms") | {f"{name}_kept": float(row[f"{name}_kept"]) for name in KEPT}


def _decided(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {"lost": float(row["lost"]), **_pairs(row, "accepted", "retained")}


def _pairs(row: Mapping[Hashable, Any], *names: str) -> dict[str, Any]:
    return {name: (float(row[f"{name}_before"]), float(row[f"{name}_after"])) for name in names}
