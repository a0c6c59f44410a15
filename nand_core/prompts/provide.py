"""The phrases of one normality: which provider gives them, and what determines them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nand_core.errors import NandError, nearest
from nand_core.prompts import instruction
from nand_core.prompts.curated import curated_bank, curated_phrases
from nand_core.prompts.openai_client import api_key
from nand_core.prompts.rules import rule_phrases
from nand_core.prompts.settings import PromptSettings, Provider

_log = logging.getLogger(__name__)
COMPETITOR_PHRASES = 8
NONSENSE_WORDS = ("blorft", "mimzle", "vaquon")


class PromptSet(BaseModel):
    """The phrases of one group and where they come from: ``artifacts/prompts/<class>/<group>.json``.

    ``model_dump_json()`` and ``model_validate_json()`` write and read it. ``time`` is that of a generated answer,
    ISO 8601 in UTC; phrases that need no network are the same at any time, and so are their bytes. Text features
    depend on ``phrases`` alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)

    class_name: str = Field(alias="class")
    group: str
    phrases: tuple[str, ...]
    provider: Provider
    model: str | None = None
    instruction: str | None = None
    parameters: dict[str, Any] = {}
    time: str | None = None
    tokens: dict[str, int] | None = None


def choose_provider(class_name: str, group: str, settings: PromptSettings) -> Provider:
    """Explicit phrases win; ``auto`` is curated, then openai if OPENAI_API_KEY is set, then rules.

    Raises NandError if the provider is ``curated`` and the bank has no such group.
    """
    if group in settings.explicit.get(class_name, {}):
        return "explicit"
    known = curated_phrases(class_name, group) is not None
    if settings.provider == "curated" and not known:
        bank = curated_bank()
        hint = nearest(group, bank[class_name]) if class_name in bank else nearest(class_name, bank)
        raise NandError(
            f"prompts.provider: the curated bank has no {class_name}/{group}{hint}; "
            "use the provider auto or rules, or write phrases under prompts.explicit"
        )
    if settings.provider != "auto":
        return settings.provider
    return "curated" if known else "openai" if api_key() else "rules"


def with_phrases(
    settings: PromptSettings, class_name: str, group: str, phrases: Sequence[str]
) -> PromptSettings:
    """The settings with these explicit phrases for one group; unchanged where there are none."""
    if not phrases:
        return settings
    return settings.model_copy(update={"explicit": {class_name: {group: tuple(phrases)}}})


def prompt_key(class_name: str, group: str, settings: PromptSettings) -> dict[str, Any]:
    """Plain JSON of what determines this group's phrases and nothing else: no other group, time or secret.

    For providers that need no network that is the phrases themselves. Raises as :func:`make_prompts` does.
    """
    provider = choose_provider(class_name, group, settings)
    key: dict[str, Any] = {"class": class_name, "group": group, "provider": provider}
    if provider != "openai":
        return {**key, "phrases": list(_local_phrases(provider, class_name, group, settings))}
    return {
        **key,
        "model": settings.openai.model,
        "parameters": _parameters(settings),
        "instruction": [instruction.VERSION, instruction.digest()],
    }


def make_prompts(
    class_name: str,
    group: str,
    settings: PromptSettings,
    *,
    now: datetime,
    known: Mapping[str, Collection[str]] | None = None,
) -> PromptSet:
    """The phrases of ``group`` from the provider that :func:`choose_provider` names.

    ``known`` are the data set's classes and groups: a generated phrase that names another one is rejected. It
    checks an answer and is no part of the key. Raises NandError where no phrases can be had.
    """
    provider = choose_provider(class_name, group, settings)
    made: dict[str, Any] = {}
    if provider == "openai":
        from nand_core.prompts.generate import generate_phrases

        known = known or {}
        others = {*known, *known.get(class_name, ())} - {class_name, group}
        found = generate_phrases(class_name, group, settings.phrases, settings.openai, other_names=others)
        phrases = found.phrases
        made = {"model": settings.openai.model, "instruction": instruction.VERSION, "tokens": found.tokens}
        made["parameters"] = _parameters(settings)
        made["time"] = now.astimezone(UTC).isoformat(timespec="seconds")
    else:
        phrases = _local_phrases(provider, class_name, group, settings)
        if provider != "explicit":
            made["parameters"] = {"phrases": settings.phrases}
    _log.info("%s/%s: %d phrases from %s", class_name, group, len(phrases), provider)
    return PromptSet(
        class_name=class_name,
        group=group,
        phrases=phrases,
        provider=provider,
        **made,
    )


def competitor_phrases(class_name: str, group: str) -> tuple[str, ...]:
    """What a group is called where it competes with another text: the reviewed phrases, else rules on its name."""
    return curated_phrases(class_name, group) or rule_phrases(class_name, group, COMPETITOR_PHRASES)


def nonsense_phrases(class_name: str) -> tuple[str, ...]:
    """The plainest phrases about words without a meaning: said as a normality is, and none of a defect.

    Several words, because to a byte-pair tokenizer a single one could look like a word that it knows.
    """
    return tuple(phrase for word in NONSENSE_WORDS for phrase in rule_phrases(class_name, word, 3))


def _local_phrases(
    provider: Provider, class_name: str, group: str, settings: PromptSettings
) -> tuple[str, ...]:
    if provider == "explicit":
        return settings.explicit[class_name][group]
    if provider == "curated":
        return (curated_phrases(class_name, group) or ())[: settings.phrases]
    return rule_phrases(class_name, group, settings.phrases)


def _parameters(settings: PromptSettings) -> dict[str, Any]:
    return {
        "phrases": settings.phrases,
        **settings.openai.model_dump(include={"base_url", "temperature", "seed"}),
    }
