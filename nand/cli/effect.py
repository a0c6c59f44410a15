"""What ``nand add`` and ``nand remove`` print of their effect."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from rich.console import Console

from nand.cli.console import table_of

if TYPE_CHECKING:
    import pandas as pd


def show_effect(
    console: Console, before: pd.DataFrame, after: pd.DataFrame, added: bool, fixed: Collection[str] = ()
) -> None:
    """Print :func:`nand.project.effect.changes`, a table for each detector and below it which images changed.

    ``added`` says whether the change was an addition: only then is there a threshold that could have been left alone.
    ``fixed`` are detectors whose threshold is, and so was.
    """
    import numpy as np

    from nand.project.effect import changes, named

    if len(before) and len(after):
        # Examples are left out as long as they are some: only what is counted both times can be compared.
        before, after = before[before["id"].isin(after["id"])], after[after["id"].isin(before["id"])]
    for detector, rows in changes(before, after).groupby("detector"):
        anomalies = rows[rows["type"] != "good"]
        limits = anomalies if len(anomalies) else rows
        old, new = limits["limit_before"].iloc[0], limits["limit_after"].iloc[0]
        moved = added and detector not in fixed
        columns = ("images of", "images", "alarms before", "alarms now", *(["now, threshold kept"] * moved))
        limit = f"{old:.3g} before, above {new:.3g} now" if detector not in fixed else f"the fixed threshold, {new:.3g}"
        title = f"{detector}: alarm above {limit}"
        table = table_of(*columns, title=title, title_justify="left")
        order = np.where(rows["type"] == "good", 2, np.where(rows["added"], 0, 1))
        for (_, kind), part in rows.groupby([order, "kind"]):
            name = f"{kind} (normal now)" if part["added"].any() else str(kind)
            counts = [len(part), part["before"].sum(), part["after"].sum(), *([part["kept"].sum()] * moved)]
            table.add_row(name, *map(str, counts))
        console.print(table)
        was, now = anomalies["before"], anomalies["after"]
        for what, chosen in (("pass now", was & ~now), ("still raise an alarm", was & now), ("new alarms", now & ~was)):
            if chosen.any():
                console.print(f"{what}: {named(anomalies, chosen)}", soft_wrap=True, highlight=False)
