"""Phrases for every group, and for every other text that is normal now."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.run import ARTIFACTS, Run
from flows.scope import finish, place, texts
from nand_core.normalities import known_groups
from nand_core.prompts.provide import prompt_key, with_phrases
from tasks.prompts import PromptSpec
from tasks.prompts import prompts as make_phrases


@flow(name="prompts")
def prompts(params: str = "params.yaml", class_name: str | None = None) -> None:
    """Write ``artifacts/prompts/<class>/<group or normality>.json``; with a class named, its normalities' alone."""
    run = Run.start("prompts", Path(params))
    settings = run.params.prompts
    known = known_groups(run.manifest)
    specs = {}
    for (name, stem), one in texts(run, class_name).items():
        text, phrases = (one.text, one.phrases) if one else (stem, ())
        specs[name, stem] = PromptSpec(
            class_name=name,
            group=text,
            determines=prompt_key(name, text, with_phrases(settings, name, text, phrases)),
            known=known,
        )
    place(run, run.items(make_phrases, specs), ARTIFACTS / "prompts", ".json", class_name)
    finish(run, class_name)
