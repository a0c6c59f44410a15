"""Phrases for every group."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.run import ARTIFACTS, Run
from nand_core.prompts.provide import prompt_key
from tasks.prompts import PromptSpec
from tasks.prompts import prompts as make_phrases


@flow(name="prompts")
def prompts(params: str = "params.yaml") -> None:
    """Write ``artifacts/prompts/<class>/<group>.json``."""
    run = Run.start("prompts", Path(params))
    manifest = run.manifest
    named = manifest[manifest["group"] != ""][["class", "group"]].drop_duplicates().sort_values(["class", "group"])
    known = {str(name): tuple(rows["group"]) for name, rows in named.groupby("class")}
    specs = {
        f"{name}/{group}.json": PromptSpec(
            class_name=name, group=group, determines=prompt_key(name, group, run.params.prompts), known=known
        )
        for name, groups in known.items()
        for group in groups
    }
    run.work.store.materialise(run.items(make_phrases, specs), ARTIFACTS / "prompts")
    run.finish()
