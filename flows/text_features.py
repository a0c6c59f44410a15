"""Text features of every group, of every other normality, and of every class's normal and abnormal states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from flows.features import TEXT_FEATURES
from flows.run import ARTIFACTS, Run
from flows.scope import finish, texts
from nand_core.artifacts.disk import replacing
from nand_core.normalities import Normality, current, known_groups
from nand_core.prompts.provide import competitor_phrases, nonsense_phrases
from nand_core.prompts.templates import abnormal_sentences, normal_sentences, sentences
from nand_core.understanding import check_understood, spoken
from nand_core.vlm.tokenizers import load_tokenizer, unknown_words
from tasks.encoder import encoder_key
from tasks.text_features import TextSpec
from tasks.text_features import text_features as encode

if TYPE_CHECKING:
    from nand_core.vlm.tokenizers import Tokenizer


def text_features(params: str = "params.yaml", class_name: str | None = None) -> None:
    """Write ``artifacts/text_features.parquet``: class, group, kind (add, known, nor, abn, nonsense), vector.

    A normality that is no labelled group has a row of kind add under its file's name, and none of kind known: it
    competes with no group of the protocol. With a class named, the rows of its normalities alone are made anew.
    """
    run = Run.start("text_features", Path(params))
    groups = known_groups(run.manifest)
    tokenizer = load_tokenizer(run.params.encoder)
    said: dict[tuple[str, str, str], list[str]] = {}
    for where, one in texts(run, class_name).items():
        made = _prompt_set(*where)
        if class_name is None:  # else what was added has been warned of, and the others before
            warn_of_unknown("/".join(where), made, tokenizer)
        said[*where, "add"] = sentences(made["phrases"])
        # A competitor of the other groups goes by its name, not by its phrases: those may change alone.
        if one is None:
            said[*where, "known"] = sentences(competitor_phrases(*where))
    for name in groups if class_name is None else ():
        said[name, "", "nor"] = normal_sentences(name)
        said[name, "", "abn"] = abnormal_sentences(name)
        said[name, "", "nonsense"] = sentences(nonsense_phrases(name))  # unknown words on purpose: no warning
    for normality in current(run.params.prompts, groups):
        if normality.asked and class_name in (None, normality.class_name):
            check_normality(normality, _prompt_set(normality.class_name, normality.name), tokenizer)
    key = encoder_key(run.params.encoder)
    specs = {where: TextSpec(sentences=tuple(them), encoder=key) for where, them in said.items()}
    records = run.items(encode, specs)
    rows = [(*where, np.load(run.work.store.path(record), allow_pickle=False)) for where, record in records.items()]
    frame = pd.DataFrame(rows, columns=["class", "group", "kind", "vector"])
    if class_name is not None:
        before = pd.read_parquet(TEXT_FEATURES)
        own = (before["class"] == class_name) & (before["kind"] == "add") & ~before["group"].isin(groups[class_name])
        frame = pd.concat([before[~own], frame]) if rows else before[~own]
    with replacing(TEXT_FEATURES) as temporary:
        frame.sort_values(["class", "kind", "group"]).to_parquet(temporary, index=False)
    finish(run, class_name)


def check_normality(one: Normality, made: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Refuse a normality of which the text encoder understands nothing, unless that is forced."""
    if one.asked and not one.force:
        force = "'force: true' in params.yaml, or nand add --force"
        check_understood(tokenizer, made, f"prompts.normalities.{one.class_name}", force)


def _prompt_set(class_name: str, name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((ARTIFACTS / "prompts" / class_name / f"{name}.json").read_text("utf-8"))
    return made


def warn_of_unknown(name: str, made: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Print which words of a prompt set the text encoder has never seen: they have no effect."""
    if unknown := unknown_words(tokenizer, " ".join([made["class"], *spoken(made)])):
        print(f"warning: {name}: the text encoder does not know: {', '.join(dict.fromkeys(unknown))}", flush=True)
