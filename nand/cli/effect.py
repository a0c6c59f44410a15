"""What ``nand add``, ``try`` and ``remove`` print of their effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console

from nand.cli.console import table_of
from nand.project.change import Effect

if TYPE_CHECKING:
    from nand_core.normalities import Normality
    from nand_core.settings import EvaluationSettings


def show_effect(
    console: Console,
    one: Normality,
    effect: Effect,
    settings: EvaluationSettings,
    *,
    added: bool,
    wrong: Mapping[str, float] | None = None,
) -> None:
    """Print what changed (``nand_core.effect.changes``): for each detector a verdict, a table, and which images.

    Args:
        console: to print on.
        one: the normality that was added or removed.
        effect: of the change.
        settings: the verdict's limits, and fixed thresholds.
        added: whether the change was an addition: only then is there a threshold that could have been left alone.
        wrong: what wrong texts do in its place (``nand_core.effect.controls``), where it is told by its text alone.
    """
    import numpy as np

    from nand_core.effect import changes, comparable, in_words, lost, named

    if not len(effect.before) and not len(effect.after):
        return
    for detector, rows in changes(*comparable(effect.before, effect.after)).groupby("detector"):
        control = (wrong or {}).get(str(detector), math.nan)
        said = in_words(rows, one.group, settings, control) if added else "as before it was added"
        console.print(f"{detector}: {said}", soft_wrap=True, highlight=False, style="bold")
        anomalies = rows[rows["type"] != "good"]
        limits = anomalies if len(anomalies) else rows
        old, new = limits["limit_before"].iloc[0], limits["limit_after"].iloc[0]
        fixed = settings.for_(str(detector), one.class_name).fixed
        moved = added and fixed is None
        columns = ("images of", "images", "alarms before", "alarms now", *(["now, threshold kept"] * moved))
        limit = f"{old:.3g} before, above {new:.3g} now" if fixed is None else f"the fixed threshold, {new:.3g}"
        title = f"alarm above {limit}"
        table = table_of(*columns, title=title, title_justify="left")
        order = np.where(rows["type"] == "good", 2, np.where(rows["added"], 0, 1))
        for (_, kind), part in rows.groupby([order, "kind"]):
            name = f"{kind} (normal now)" if part["added"].any() else str(kind)
            counts = [len(part), part["before"].sum(), part["after"].sum(), *([part["kept"].sum()] * moved)]
            table.add_row(name, *map(str, counts))
        console.print(table)
        was, now, gone = anomalies["before"], anomalies["after"], lost(anomalies)
        for what, chosen in (
            ("lost alarms", gone),
            ("pass now", was & ~now & ~gone),
            ("still raise an alarm", was & now),
            ("new alarms", now & ~was),
        ):
            if chosen.any():
                console.print(f"{what}: {named(anomalies, chosen)}", soft_wrap=True, highlight=False)
