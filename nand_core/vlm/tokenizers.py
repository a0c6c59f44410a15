"""The tokenizer that an encoder's text tower takes, without the towers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import model_config, weight_files
from nand_core.vlm.words import WordTokenizer

Tokenizer = Callable[[list[str]], Tensor]


def load_tokenizer(settings: EncoderSettings) -> Tokenizer:
    """Texts -> token ids, int64 (n, context length).

    Raises:
        NandError: the vocabulary is missing, or there is no such model.
    """
    length = model_config(settings)["text_cfg"].get("context_length", 77)
    for file in weight_files(settings):
        if file.key == "vocabulary" and file.path is not None:
            return WordTokenizer.load(file.path, length)
    import open_clip

    tokenizer: Tokenizer
    if settings.config_path is not None:
        tokenizer = open_clip.SimpleTokenizer(context_length=length)
    else:
        tokenizer = open_clip.get_tokenizer(settings.model)
    return tokenizer


def unknown_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words that the tokenizer does not know; none for byte-pair tokenizers, which know all."""
    unknown = getattr(tokenizer, "unknown_words", None)
    return unknown(text) if unknown else []
