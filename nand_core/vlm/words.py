"""A tokenizer over whole words, for text towers with a small vocabulary of their own."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from nand_core.errors import NandError

if TYPE_CHECKING:
    import torch

_VOWELS = set("aeiouy")


def split_words(text: str) -> list[str]:
    """Lower-case words of any script; everything that is neither a letter nor a mark on one separates."""
    return "".join(c if unicodedata.category(c)[0] in "LM" else " " for c in text.lower()).split()


def stem(word: str) -> str:
    """Strip plural, -ed and -ing endings: ``scratches`` and ``scratching`` both give ``scratch``."""
    for ending in ("ing", "ed", "es", "s"):
        root = word[: -len(ending)]
        if (
            word.endswith(ending)
            and len(root) >= 3
            and _VOWELS & set(root)
            and not (ending == "s" and root[-1] in "su")
        ):
            word = root
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in _VOWELS | set("ls"):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] == "e" else word


class WordTokenizer:
    """Texts to word ids as open_clip's text tower takes them.

    Id 0 pads, 1 stands for a word outside the vocabulary, ``2 + i`` for ``vocabulary[i]`` (a stem), and the
    highest id ends a text: open_clip pools at the argmax. Longer texts are cut to ``context_length``.
    """

    def __init__(self, vocabulary: Sequence[str], context_length: int) -> None:
        self.vocabulary = tuple(vocabulary)
        self.context_length = context_length
        self.end_id = len(self.vocabulary) + 2
        self._ids = {word: i + 2 for i, word in enumerate(self.vocabulary)}

    @classmethod
    def load(cls, path: Path, context_length: int, file: BytesIO | None = None) -> WordTokenizer:
        """From a text file with one stem a line; of ``file``, if it is given, which was read by that name.

        Raises:
            NandError: there is no such file, or it is empty.
        """
        path = Path(path)
        data = file.getvalue() if file else path.read_bytes() if path.is_file() else b""
        words = data.decode("utf-8").split()
        if not words:
            raise NandError(f"{path}: no vocabulary; the file needs one word stem a line")
        return cls(words, context_length)

    @property
    def vocab_size(self) -> int:
        return self.end_id + 1

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Token ids, int64 (n, context_length)."""
        import torch  # takes seconds, and whoever asks for unknown words alone never needs it

        texts = [texts] if isinstance(texts, str) else list(texts)
        tokens = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in zip(tokens, texts, strict=True):
            ids = [self._ids.get(stem(word), 1) for word in split_words(text)[: self.context_length - 1]]
            row[: len(ids) + 1] = torch.tensor([*ids, self.end_id])
        return tokens

    def unknown(self, text: str) -> list[str]:
        """The words of ``text`` that the text tower has never seen, in order, each once."""
        return list(dict.fromkeys(w for w in split_words(text) if stem(w) not in self._ids))

    unknown_words = unknown
