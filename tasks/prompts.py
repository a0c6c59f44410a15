"""The phrases of one group."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from nand_core.artifacts.store import Record
from nand_core.prompts.provide import make_prompts, with_phrases
from tasks.cache import Spec, item
from tasks.work import Work


class PromptSpec(Spec):
    """``determines`` is what the phrases depend on; the other classes and groups only check an answer."""

    unkeyed: ClassVar = frozenset({"known"})

    class_name: str
    group: str
    determines: dict[str, Any]
    known: dict[str, tuple[str, ...]]


@item
def prompts(spec: PromptSpec, work: Work) -> Record:
    """The prompt set, as JSON."""
    explicit = spec.determines["phrases"] if spec.determines.get("provider") == "explicit" else ()
    settings = with_phrases(work.params.prompts, spec.class_name, spec.group, explicit)
    made = make_prompts(spec.class_name, spec.group, settings, now=datetime.now(UTC), known=spec.known)
    return work.store.put(made.model_dump_json(indent=2).encode() + b"\n", "json")
