"""A normality added from Prefect's page or API, as ``nand add`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows import versions
from flows.evaluate import NORMALITIES
from flows.parameters import ClassName, Line, Name
from flows.programs import may_help, program
from flows.run import RESULTS
from nand_core.config import load_params
from nand_core.effect import changes, comparable, controls, in_words
from nand_core.operating import effect_summary
from nand_core.report.tables import markdown_table
from nand_core.settings import EvaluationSettings

PARAMS, OPERATING = Path("params.yaml"), RESULTS / "operating.parquet"
ImageFile = Annotated[
    str,
    Field(pattern=r"^[^-./\\\x00-\x1f][^/\\\x00-\x1f]*(/[^./\\\x00-\x1f][^/\\\x00-\x1f]*)*$", max_length=400),
]
"""On the worker, relative to the checkout and within it; it cannot be taken for an option."""


@task(retries=1, retry_delay_seconds=60, retry_condition_fn=may_help)
def add(class_name: str, text: str, options: list[str]) -> None:
    """``nand add``: ``params.yaml`` is changed once all is computed, or not at all."""
    program("nand", "add", *options, "--", class_name, text)


@flow(name="add-normality", flow_run_name="{class_name}: {text}")
def add_normality(
    class_name: ClassName,
    text: Line,
    phrases: Annotated[list[Line], Field(max_length=100)] = [],  # noqa: B006 - Prefect shows it as the default
    *,
    like: Annotated[list[ImageFile], Field(max_length=1000)] = [],  # noqa: B006
    unlike: Annotated[list[ImageFile], Field(max_length=1000)] = [],  # noqa: B006
    ask: bool = False,
    force: bool = False,
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0,
    from_test: bool = False,
    accept_lost: bool = False,
    remote: Name = "",
    save_commit: bool = False,
) -> None:
    """Make ``text``, or what images show, normal for ``class_name``, and show what that does to every kind of image.

    Args:
        class_name: a class of the data set.
        text: such as "loose fibre"; or the name of a labelled group. With images it names what they show.
        phrases: in place of generated ones.
        like: images that show it, files on the worker, relative to the checkout.
        unlike: images that look like it and have to keep raising an alarm.
        ask: with images, ask about the text as well.
        force: take the text even if the text encoder knows none of its words.
        strength: how far what it claims falls to the good images' level; 0.5: half of the way.
        from_test: allow images of the test set; they are left out of what is counted.
        accept_lost: add it even if other defects lose their alarm; without it such a run fails and changes nothing.
        remote: DVC's remote; empty: its default one, if there is any.
        save_commit: commit ``params.yaml``, ``dvc.lock`` and ``normalities.jsonl``.
    """
    lists = {"phrase": phrases, "like": like, "unlike": unlike}
    options = [f"--{name}={value}" for name, values in lists.items() for value in values]
    options += [f"--strength={strength}"] * (strength != 1)
    before = class_effect(class_name) if NORMALITIES.is_file() else None
    flags = {"--ask": ask, "--force": force, "--from-test": from_test, "--yes": accept_lost}
    add(class_name, text, [*options, *(flag for flag, on in flags.items() if on)])
    after = class_effect(class_name)
    # What images show, or phrases of its own, is not the text that the control stands against.
    wrong = {} if like or unlike or phrases else controls(pd.read_parquet(OPERATING), class_name, text)
    said = verdicts(after[:0] if before is None else before, after, load_params(PARAMS).evaluation, wrong)
    create_markdown_artifact(
        f"{said}\n{alarms_table(effect_summary(after))}",
        key="add-normality-effect",
        description=f"{class_name}: {text} is normal",
    )
    if save_commit:
        versions.commit(f"{class_name}: {text} is normal")
    versions.push(remote)


def class_effect(class_name: str) -> pd.DataFrame:
    """The class's rows of ``results/normalities.parquet``."""
    effect = pd.read_parquet(NORMALITIES)
    return effect[effect["class"] == class_name]


def verdicts(
    before: pd.DataFrame, after: pd.DataFrame, settings: EvaluationSettings, wrong: Mapping[str, float]
) -> str:
    """What an addition came to, a line of Markdown for each detector, as ``nand add`` says it.

    Args:
        before, after: the class's rows of ``results/normalities.parquet``; empty before its first normality.
        settings: the verdict's limits.
        wrong: the controls of the text, by detector.
    """
    new = set(after.loc[after["added"], "group"]) - set(before.loc[before["added"].astype(bool), "group"])
    group = min(new, default="")
    rows = changes(*comparable(before, after))
    return "".join(
        f"- **{detector}**: {in_words(part, group, settings, wrong.get(str(detector), math.nan))}\n"
        for detector, part in rows.groupby("detector")
    )


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
