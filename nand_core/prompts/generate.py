"""The LLM prompt generator: ask, judge what came back, ask once more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nand_core.errors import NandError
from nand_core.prompts import instruction
from nand_core.prompts.answers import phrases_in
from nand_core.prompts.clean import checked_phrase, usable
from nand_core.prompts.openai_client import open_chat
from nand_core.prompts.settings import OpenAISettings
from nand_core.prompts.templates import ABNORMAL_STATES, fill, object_name

if TYPE_CHECKING:
    from nand_core.prompts.openai_client import Messages

#: Asked for beyond the number wanted, so that one poor phrase costs no second request.
SPARE = 2
_TEMPLATE_WORDS = ("photo", "photograph", "image", "picture")


@dataclass(frozen=True)
class Generated:
    phrases: tuple[str, ...]
    tokens: dict[str, int] | None


def generate_phrases(
    class_name: str, group: str, count: int, settings: OpenAISettings, *, other_names: Iterable[str] = ()
) -> Generated:
    """``count`` phrases for ``group`` from the model; those with one of ``other_names`` or of the generic
    abnormal states in them are rejected.

    One request, and a second one where the first gave too few usable phrases. Raises NandError for a refusal,
    for too few phrases after both (with an excerpt of the answer), and where :class:`Chat` does.
    """
    where = f"prompts of {class_name}/{group}"
    name, text = object_name(class_name).lower(), checked_phrase(group, f"normality of {class_name}")
    # A phrase that means any damage would make every anomaly of the class normal.
    foreign = foreign_names(
        [*other_names, *_TEMPLATE_WORDS, *fill(ABNORMAL_STATES, name)], f"{name} {text} {name}"
    )
    messages: Messages = [{"role": "user", "content": instruction.first_request(name, text, count + SPARE)}]
    good: list[str] = []
    tokens: dict[str, int] = {}
    with open_chat(settings, where) as chat:
        for _ in range(2):
            answer = chat.ask(messages, instruction.SCHEMA)
            for kind, number in (answer.tokens or {}).items():
                tokens[kind] = tokens.get(kind, 0) + number
            if answer.refusal:
                raise NandError(f"{where}: {settings.model} refused: {answer.refusal!r}; {_WAY_OUT}")
            found = [p for p in usable(phrases_in(answer.content or "")) if not (foreign and foreign.search(p))]
            good = list(dict.fromkeys([*good, *found]))
            if len(good) >= count:
                return Generated(tuple(good[:count]), tokens or None)
            more = instruction.second_request(len(good), count - len(good) + SPARE)
            messages = [
                *messages,
                {"role": "assistant", "content": (answer.content or "")[:2000]},
                {"role": "user", "content": more},
            ]
    raise NandError(
        f"{where}: {settings.model} gave {len(good)} of {count} usable phrases in two answers, "
        f"lastly {answer.shown!r}; {_WAY_OUT}"
    )


_WAY_OUT = "write the phrases under prompts.explicit or choose another prompts.openai.model"


def foreign_names(names: Iterable[str], own: str) -> re.Pattern[str] | None:
    """Finds any of ``names`` as whole words, plural or not; names that stand in ``own`` are allowed."""
    words = {object_name(n).lower() for n in names}
    foreign = sorted(n for n in words if n and not re.search(rf"\b{re.escape(n)}\b", own))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, foreign))})(?:s|es)?\b") if foreign else None
