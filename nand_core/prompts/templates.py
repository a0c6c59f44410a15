"""APRIL-GAN's prompt ensemble (arXiv 2305.17382): states of an object put into photo templates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TEMPLATES: tuple[str, ...] = (
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a photo of my {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a photo of one {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "a low resolution photo of a {}.",
    "a photo of a large {}.",
    "a blurry photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a photo of the small {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "a dark photo of a {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
NORMAL_STATES: tuple[str, ...] = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ABNORMAL_STATES: tuple[str, ...] = (
    "damaged {}",
    "broken {}",
    "{} with flaw",
    "{} with defect",
    "{} with damage",
)


def object_name(class_name: str) -> str:
    """The class as a word of a sentence: ``metal_nut`` -> ``metal nut``."""
    return " ".join(class_name.replace("_", " ").split())


def checked_pattern(pattern: str) -> str:
    """The pattern, in which ``{}`` stands for a word and no other brace stands.

    Raises:
        ValueError: it has none, or another field, which nothing would fill.
    """
    rest = pattern.replace("{}", "")
    if rest == pattern or "{" in rest or "}" in rest:
        raise ValueError(f"{pattern!r} must contain {{}}, where the word goes, and no other brace")
    return pattern


def fill(patterns: Iterable[str], name: str) -> list[str]:
    """Every pattern with ``name`` in the place of ``{}``."""
    return [pattern.replace("{}", name) for pattern in patterns]


def sentences(phrases: Iterable[str], templates: Sequence[str] = TEMPLATES) -> list[str]:
    """Every phrase in every template, all templates of the first phrase first: S_add of section 3."""
    return [sentence for phrase in phrases for sentence in fill(templates, phrase)]


def normal_sentences(class_name: str) -> list[str]:
    """S_nor: the 7 normal states of the object in the 35 templates."""
    return sentences(fill(NORMAL_STATES, object_name(class_name)))


def abnormal_sentences(class_name: str) -> list[str]:
    """S_abn: the 5 abnormal states of the object in the 35 templates."""
    return sentences(fill(ABNORMAL_STATES, object_name(class_name)))
