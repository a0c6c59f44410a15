"""Texts of which a text encoder with a vocabulary of its own understands nothing: all of them look the same to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nand_core.errors import NandError
from nand_core.vlm.tokenizers import understood, unknown_words

if TYPE_CHECKING:
    from nand_core.vlm.tokenizers import Tokenizer


def spoken(made: Mapping[str, Any]) -> list[str]:
    """What was said: a prompt set's phrases, or the text of which rules made them.

    Args:
        made: with ``group``, ``phrases`` and ``provider``, as a prompt set or its key (``nand_core.prompts.provide``).
    """
    return [made["group"]] if made["provider"] == "rules" else list(made["phrases"])


def check_understood(tokenizer: Tokenizer, made: Mapping[str, Any], where: str, force: str, text: str = "") -> None:
    """Refuse a text of which the encoder knows no word.

    Args:
        made: as in :func:`spoken`, with ``class``.
        where: begins the message.
        force: how it is taken all the same.
        text: as it was written; by default the ``group``.

    Raises:
        NandError: naming the words.
    """
    said = spoken(made)
    if understood(tokenizer, made["class"], said):
        return
    unknown = ", ".join(unknown_words(tokenizer, " ".join(said)))
    raise NandError(
        f"{where}: {text or made['group']!r}: the text encoder knows none of its words ({unknown}), it would mean the "
        f"same as any other such text; say it in words that it knows, show it by images, or force it with {force}"
    )
