"""A normality added from Prefect's page or API, as ``nand add`` does."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows import versions
from flows.evaluate import NORMALITIES
from flows.parameters import ClassName, Line, Name
from flows.programs import may_help, program
from nand_core.operating import effect_summary
from nand_core.report.tables import markdown_table


@task(retries=1, retry_delay_seconds=60, retry_condition_fn=may_help)
def add(class_name: str, text: str, phrases: list[str]) -> None:
    """``nand add``: ``params.yaml`` is changed once all is computed, or not at all."""
    program("nand", "add", *(f"--phrase={phrase}" for phrase in phrases), "--", class_name, text)


@flow(name="add-normality")
def add_normality(
    class_name: ClassName,
    text: Line,
    phrases: Annotated[list[Line], Field(max_length=100)] = [],  # noqa: B006 - Prefect shows it as the default
    remote: Name = "",
    save_commit: bool = False,
) -> None:
    """Make ``text`` normal for ``class_name`` from now on, and show what that does to every kind of image.

    Args:
        class_name: a class of the data set.
        text: such as "loose fibre"; or the name of a labelled group.
        phrases: in place of generated ones.
        remote: DVC's remote; empty: its default one, if there is any.
        save_commit: commit ``params.yaml`` and ``dvc.lock``.
    """
    add(class_name, text, phrases)
    effect = pd.read_parquet(NORMALITIES)
    create_markdown_artifact(
        alarms_table(effect_summary(effect[effect["class"] == class_name])),
        key="add-normality-effect",
        description=f"{class_name}: {text} is normal",
    )
    if save_commit:
        versions.commit(f"{class_name}: {text} is normal")
    versions.push(remote)


def alarms_table(summary: pd.DataFrame) -> str:
    """``effect_summary`` as Markdown: alarms of each kind of image before and after."""
    rows = (
        [
            row["detector"],
            f"{row['kind']} (normal now)" if row["added"] else row["kind"],
            row["images"],
            row["alarms_before"],
            row["alarms_after"],
        ]
        for row in summary.to_dict("records")
    )
    return markdown_table(["detector", "images of", "images", "alarms before", "alarms now"], rows, text_columns=2)
