"""Which change of params.yaml makes a text or what examples show normal for a class, and which takes it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nand.project.change import Change, Groups
from nand.project.examples import Examples, check
from nand.project.params_file import append, discard
from nand_core.config import Params
from nand_core.errors import NandError, nearest
from nand_core.normalities import Normality, resolve
from nand_core.prompts.clean import checked_phrase, clean
from nand_core.prompts.provide import prompt_key, with_phrases
from nand_core.prompts.settings import Added, Example
from nand_core.understanding import check_understood
from nand_core.vlm.tokenizers import word_tokenizer

SECTION = ("prompts", "normalities")
NO_EXAMPLES = Examples()


def addition(
    params: Params,
    groups: Groups,
    class_name: str,
    text: str,
    phrases: Sequence[str],
    *,
    examples: Examples = NO_EXAMPLES,
    ask: bool = False,
    force: bool = False,
    strength: float = 1.0,
) -> Change:
    """``text`` is normal for ``class_name``, described by ``phrases`` or, without any, by generated ones.

    With ``examples`` of it the text is a name alone, unless it has phrases or ``ask`` says otherwise.

    Raises
    ------
    NandError
        When it is normal already, no phrases can be made of it, an example is no use, or the text encoder understands
        nothing of it and ``force`` is off; or the strength is none.
    """
    where = f"nand add {class_name}"
    if not 0 < strength <= 1:
        raise NandError(f"{where}: --strength {strength:g}: give more than 0 and at most 1")
    given = tuple(checked_phrase(one, where) for one in phrases)
    entry = Added(text=checked_phrase(text, where), phrases=given)
    made = resolve(class_name, entry, groups[class_name])
    if _entry(made, params, groups):
        raise NandError(f"{class_name}: {made.text!r} is normal already, see 'nand list'; remove it to change it")
    found = check(params, class_name, examples)
    flags = {"ask": ask, "force": force, "strength": strength}
    entry = entry.model_copy(update={"like": found.like, "unlike": found.unlike, **flags})
    made = resolve(class_name, entry, groups[class_name])
    if entry.asked:
        # Refuses a text that no phrases can be made of, before anything runs.
        key = prompt_key(class_name, made.text, with_phrases(params.prompts, class_name, made.text, given))
        tokenizer = word_tokenizer(params.encoder)
        # What a language model will make of it is seen when it has.
        if tokenizer is not None and not force and "phrases" in key:
            check_understood(tokenizer, key, where, "--force", text)
    item = _item(made.text, entry)
    return Change(
        made,
        lambda file: append(file, (*SECTION, class_name), [item]),
        added=True,
        files=found.files,
        tests=found.tests,
        limit=params.evaluation.lost_alarms,
    )


def _item(text: str, one: Added) -> Any:
    """The entry as it is written into the file, under the name ``text``."""
    said: dict[str, Any] = {
        "like": list(map(_shown, one.like)),
        "unlike": list(map(_shown, one.unlike)),
        "phrases": list(one.phrases),
        "ask": one.ask and bool(one.like),
        "force": one.force,
        "strength": one.strength if one.strength != 1 else None,
    }
    said = {key: value for key, value in said.items() if value}
    if said.keys() <= {"phrases"}:
        return {text: said["phrases"]} if said else text
    return {text: said}


def _shown(one: Example) -> Any:
    if one.box:
        return {"image": one.image, "box": list(one.box)}
    return {"image": one.image, "mask": one.mask} if one.mask else one.image


def removal(params: Params, groups: Groups, class_name: str, text: str) -> Change:
    """``text`` is no longer normal for ``class_name``.

    Raises
    ------
    NandError
        When it is not among the class's normalities.
    """
    wanted = resolve(class_name, Added(text=clean(text)), groups[class_name])
    found = _entry(wanted, params, groups)
    if found is None:
        entries = params.prompts.normalities.get(class_name, ())
        known = [resolve(class_name, entry, groups[class_name]).text for entry in entries]
        raise NandError(f"{class_name}: {text!r} is not among its normalities{nearest(clean(text), known)}")

    def edit(file: str) -> str:
        file = discard(file, (*SECTION, class_name), lambda item: clean(_text(item)) == found.text)
        if not wanted.group and found.text in params.prompts.explicit.get(class_name, {}):
            file = discard(file, ("prompts", "explicit", class_name, found.text), lambda _: True)
        return file

    return Change(resolve(class_name, found, groups[class_name]), edit, added=False)


def _entry(made: Normality, params: Params, groups: Groups) -> Added | None:
    """The settings' entry that means the same normality."""
    for entry in params.prompts.normalities.get(made.class_name, ()):
        other = resolve(made.class_name, entry, groups[made.class_name])
        if (made.group or made.text) == (other.group or other.text):
            return entry
    return None


def _text(item: Any) -> str:
    """The text of an entry as it stands in the file."""
    return item if isinstance(item, str) else str(next(iter(item)))
