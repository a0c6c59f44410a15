"""Settings of the prompts: where the phrases of a normality come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from nand_core.errors import NandError
from nand_core.prompts.clean import checked_phrase, checked_phrases
from nand_core.settings import Settings

Explicit = dict[str, dict[str, tuple[str, ...]]]
Provider = Literal["explicit", "curated", "openai", "rules"]
Pixels = Annotated[int, Field(ge=0, le=1_000_000)]
EXAMPLE_NAME = r"^[0-9a-f]{16}(-[A-Za-z0-9._-]{1,80})?\.[a-z]{3,4}$"


class OpenAISettings(Settings):
    """An OpenAI-compatible endpoint. Its key comes from the environment variable OPENAI_API_KEY alone.

    ``temperature`` and ``seed`` are left out of the request where they are null (some models refuse them).
    ``timeout`` is in seconds, for one attempt; ``concurrency`` limits the requests at once of a process.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str = "https://api.openai.com/v1"
    model: str = Field("gpt-4o-mini", min_length=1)
    temperature: float | None = Field(0.7, ge=0, le=2)
    seed: int | None = Field(0, ge=-(1 << 63), lt=1 << 63)
    timeout: float = Field(60.0, gt=0, le=3600)
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


class Example(Settings):
    """An image that shows what is meant.

    Attributes:
        image: its file's name in ``artifacts/examples/<class>``, with the first 16 digits of the content's sha256.
        box: x, y, width and height in pixels of what is meant in it; null: whatever no good image shows.
        mask: name of a mask beside it, in place of a box.
    """

    image: str = Field(pattern=EXAMPLE_NAME)
    box: tuple[Pixels, Pixels, Pixels, Pixels] | None = None
    mask: str | None = Field(None, pattern=EXAMPLE_NAME)

    @model_validator(mode="after")
    def _one_place(self) -> Example:
        if self.box and self.mask:
            raise ValueError("give a box or a mask, not both")
        if self.box and min(self.box[2:]) < 1:
            raise ValueError("box is x, y, width, height in pixels, with x and y from 0 and sides from 1 on")
        return self


class Added(Settings):
    """What counts as normal from now on: a text, examples of it, or both.

    Attributes:
        text: what is said; with examples alone, their name.
        phrases: of the text's own, if it came with some.
        like: images that show it.
        unlike: images that look like it and have to keep raising an alarm.
        ask: with examples, whether the text is asked as well; with phrases it is in any case.
        force: ask the text encoder even if it knows no word of it.
        strength: how far what it claims falls to the good level, over 0 to 1.
    """

    text: str
    phrases: tuple[str, ...] = ()
    like: tuple[Example, ...] = ()
    unlike: tuple[Example, ...] = ()
    ask: bool = False
    force: bool = False
    strength: float = Field(1.0, gt=0, le=1)

    @field_validator("like", "unlike", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """In YAML an example without a box or mask is its file's name."""
        if isinstance(given, list | tuple):
            return [{"image": one} if isinstance(one, str) else one for one in given]
        return given

    @property
    def asked(self) -> bool:
        """Whether the text encoder is asked about it."""
        return self.ask or bool(self.phrases) or not self.like

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files of its examples."""
        return tuple(name for one in (*self.like, *self.unlike) for name in (one.image, one.mask) if name)


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
                shown = [one.image[:16] for one in (*entry.like, *entry.unlike)]
                if twice := next((one for one in shown if shown.count(one) > 1), None):
                    raise NandError(f"{where}.{text}: the example {twice} stands there twice; remove one")
                texts[text] = entry.model_copy(update={"text": text, "phrases": phrases})
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
        ((text, said),) = value.items()
        if not isinstance(said, Mapping):
            return {"text": text, "phrases": said}
        if "text" in said:
            raise ValueError(f"{text!r} is the text already; leave the key 'text' out")
        return {**said, "text": text}
    if isinstance(value, Added):
        return value
    raise ValueError("an entry must be a text such as 'loose fibre', or one text with its phrases or its examples")
