"""The tokenizer that an encoder's text tower takes, without the towers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import model_config, weight_files
from nand_core.vlm.words import WordTokenizer, split_words

if TYPE_CHECKING:
    from torch import Tensor

    from nand_core.vlm.files import WeightFile

    Tokenizer = Callable[[list[str]], Tensor]

_SAY_NOTHING = frozenset(
    """a an and are as at be between by for from has have in inside into is it its near no not of off on or over some
    than that the their there these this those to under was were which with without""".split()  # noqa: SIM905
)


def load_tokenizer(settings: EncoderSettings, files: Iterable[WeightFile] = ()) -> Tokenizer:
    """Texts -> token ids, int64 (n, context length). Of ``files``, if they are given, each as it was hashed.

    Raises:
        NandError: the vocabulary is missing, or there is no such model.
    """
    length = model_config(settings)["text_cfg"].get("context_length", 77)
    for file in files or weight_files(settings):
        if file.key == "vocabulary" and file.path is not None:
            return WordTokenizer.load(file.path, length, file.read() if file.present else None)
    import open_clip

    tokenizer: Tokenizer
    if settings.config_path is not None:
        tokenizer = open_clip.SimpleTokenizer(context_length=length)
    else:
        tokenizer = open_clip.get_tokenizer(settings.model)
    return tokenizer


def word_tokenizer(settings: EncoderSettings) -> WordTokenizer | None:
    """The tokenizer of an encoder that knows whole words; None of one that reads any text, piece by piece.

    Raises:
        NandError: the vocabulary is missing.
    """
    if settings.config_path is None:
        return None
    found = load_tokenizer(settings) if "tokenizer" in model_config(settings) else None
    return found if isinstance(found, WordTokenizer) else None


def understood(tokenizer: Tokenizer, class_name: str, texts: Iterable[str]) -> bool:
    """Whether the tokenizer knows a word of the texts that says more than the class's name."""
    idle = _SAY_NOTHING | {form for word in split_words(class_name) for form in (word, f"{word}s", f"{word}es")}
    words = [word for word in split_words(" ".join(texts)) if word not in idle]
    unknown = unknown_words(tokenizer, " ".join(words))
    return not unknown or bool(set(words) - set(unknown))


def unknown_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words that the tokenizer does not know; none for byte-pair tokenizers, which know all."""
    unknown = getattr(tokenizer, "unknown_words", None)
    return unknown(text) if unknown else []
