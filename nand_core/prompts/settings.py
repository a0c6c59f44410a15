"""Settings of the prompts: where the phrases of a normality come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from nand_core.errors import NandError
from nand_core.prompts.clean import checked_phrase, checked_phrases
from nand_core.settings import Settings

Explicit = dict[str, dict[str, tuple[str, ...]]]
Provider = Literal["explicit", "curated", "openai", "rules"]


class OpenAISettings(Settings):
    """An OpenAI-compatible endpoint. Its key comes from the environment variable OPENAI_API_KEY alone.

    ``temperature`` and ``seed`` are left out of the request where they are null (some models refuse them).
    ``timeout`` is in seconds, for one attempt; ``concurrency`` limits the requests at once of a process.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str = "https://api.openai.com/v1"
    model: str = Field("gpt-4o-mini", min_length=1)
    temperature: float | None = Field(0.7, ge=0, le=2)
    seed: int | None = 0
    timeout: float = Field(60.0, gt=0)
    max_retries: int = Field(4, ge=0, le=20)
    concurrency: int = Field(4, ge=1, le=64)

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.port == 0
            or url.split() != [url]
        ):
            raise ValueError("must be an address such as 'https://api.openai.com/v1'")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must hold no user, password or query; the key is read from OPENAI_API_KEY")
        return url.rstrip("/")


class Added(Settings):
    """A text that counts as normal from now on, with phrases of its own if it came with some."""

    text: str
    phrases: tuple[str, ...] = ()


class PromptSettings(Settings):
    """``explicit`` (class -> group -> phrases) wins over every provider; ``auto`` takes the first that can.

    ``phrases`` is the number for each group; the curated bank holds 8 a group and gives at most those.
    ``normalities`` (class -> texts) are what counts as normal from now on, all of a class together.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    provider: Literal["auto", "curated", "rules", "openai"] = "auto"
    phrases: int = Field(8, ge=1, le=64)
    explicit: Explicit = {}
    normalities: dict[str, tuple[Added, ...]] = {}
    openai: OpenAISettings = OpenAISettings()

    @field_validator("explicit")
    @classmethod
    def _cleaned(cls, explicit: Explicit) -> Explicit:
        return {
            name: {group: checked_phrases(name, group, phrases) for group, phrases in groups.items()}
            for name, groups in explicit.items()
        }

    @field_validator("normalities", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """In YAML an entry is a text or ``{text: [phrases]}``, and an empty section or list is null."""
        if isinstance(given, Mapping):
            return {name: _entries(entries) for name, entries in given.items()}
        return {} if given is None else given

    @field_validator("normalities")
    @classmethod
    def _distinct(cls, given: dict[str, tuple[Added, ...]]) -> dict[str, tuple[Added, ...]]:
        found: dict[str, tuple[Added, ...]] = {}
        for name, entries in given.items():
            where = f"prompts.normalities.{name}"
            texts: dict[str, Added] = {}
            for entry in entries:
                text = checked_phrase(entry.text, where)
                if text in texts:
                    raise NandError(f"{where}: {text!r} stands there twice; remove one")
                phrases = tuple(dict.fromkeys(checked_phrase(phrase, f"{where}.{text}") for phrase in entry.phrases))
                texts[text] = Added(text=text, phrases=phrases)
            found[name] = tuple(texts.values())
        return found


def _entries(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_entry(one) for one in value]
    return () if value is None else value


def _entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, Mapping) and len(value) == 1:
        ((text, phrases),) = value.items()
        return {"text": text, "phrases": phrases}
    if isinstance(value, Added):
        return value
    raise ValueError("an entry must be a text such as 'loose fibre' or one text with its phrases")
