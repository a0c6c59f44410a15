"""Settings of the prompts: where the phrases of a normality come from."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from nand_core.prompts.clean import checked_phrases
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


class PromptSettings(Settings):
    """``explicit`` (class -> group -> phrases) wins over every provider; ``auto`` takes the first that can.

    ``phrases`` is the number for each group; the curated bank holds 8 a group and gives at most those.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    provider: Literal["auto", "curated", "rules", "openai"] = "auto"
    phrases: int = Field(8, ge=1, le=64)
    explicit: Explicit = {}
    openai: OpenAISettings = OpenAISettings()

    @field_validator("explicit")
    @classmethod
    def _cleaned(cls, explicit: Explicit) -> Explicit:
        return {
            name: {group: checked_phrases(name, group, phrases) for group, phrases in groups.items()}
            for name, groups in explicit.items()
        }
