"""A normality added from Prefect's page or API, as ``nand add`` does."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows import versions
from flows.evaluate import NORMALITIES
from flows.nightly import Name
from flows.programs import may_help, program
from nand_core.operating import effect_summary

ClassName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]+$", min_length=1, max_length=100)]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$", min_length=1, max_length=200)]


@task(retries=1, retry_delay_seconds=60, retry_condition_fn=may_help)
def add(class_name: str, text: str, phrases: list[str]) -> None:
    """``nand add``: ``params.yaml`` is changed once all is computed, or not at all."""
    program("nand_core.cli", "add", *(f"--phrase={phrase}" for phrase in phrases), "--", class_name, text)


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
        table(effect_summary(effect[effect["class"] == class_name])),
        key="add-normality-effect",
        description=f"{class_name}: {text} is normal",
    )
    if save_commit:
        versions.commit(f"{class_name}: {text} is normal")
    versions.push(remote)


def table(summary: pd.DataFrame) -> str:
    """``effect_summary`` as Markdown: alarms of each kind of image before and after."""
    lines = ["| detector | images of | images | alarms before | alarms now |", "|---|---|---:|---:|---:|"]
    for row in summary.to_dict("records"):
        kind = f"{row['kind']} (normal now)" if row["added"] else row["kind"]
        counts = f"{row['images']} | {row['alarms_before']} | {row['alarms_after']}"
        lines.append(f"| {row['detector']} | {kind} | {counts} |")
    return "\n".join(lines) + "\n"
