"""Phrases for every group, and for every other text that is normal now."""

from __future__ import annotations

from pathlib import Path

from flows.run import ARTIFACTS, Run
from flows.scope import finish, place, texts
from nand_core.normalities import known_groups
from nand_core.prompts.provide import prompt_key, with_phrases
from tasks.prompts import PromptSpec
from tasks.prompts import prompts as make_phrases


def prompts(params: str = "params.yaml", class_name: str | None = None) -> None:
    """Write ``artifacts/prompts/<class>/<group or normality>.json``; with a class named, its normalities' alone."""
    run = Run.start("prompts", Path(params))
    found = texts(run, class_name)
    specs = {
        (name, stem): prompt_spec(run, name, *((one.text, one.phrases) if one else (stem, ())))
        for (name, stem), one in found.items()
    }
    place(run, run.items(make_phrases, specs), ARTIFACTS / "prompts", ".json", class_name)
    finish(run, class_name)


def prompt_spec(run: Run, class_name: str, text: str, phrases: tuple[str, ...]) -> PromptSpec:
    """Phrases for a text of a class; those of its own win over every generator."""
    return PromptSpec(
        class_name=class_name,
        group=text,
        determines=prompt_key(class_name, text, with_phrases(run.params.prompts, class_name, text, phrases)),
        known=known_groups(run.manifest),
    )
