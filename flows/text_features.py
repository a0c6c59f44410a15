"""Text features of every group and of every class's normal and abnormal states."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from prefect import flow

from flows.features import TEXT_FEATURES
from flows.run import ARTIFACTS, Run
from nand_core.artifacts.store import replacing
from nand_core.prompts.curated import curated_phrases
from nand_core.prompts.rules import rule_phrases
from nand_core.prompts.templates import abnormal_sentences, normal_sentences, sentences
from tasks.text_features import TextSpec
from tasks.text_features import text_features as encode
from tasks.work import encoder_key

COMPETITOR_PHRASES = 8


@flow(name="text_features")
def text_features(params: str = "params.yaml") -> None:
    """Write ``artifacts/text_features.parquet``: class, group, kind (add, known, nor, abn), vector."""
    run = Run.start("text_features", Path(params))
    texts: dict[tuple[str, str, str], list[str]] = {}
    for path in sorted((ARTIFACTS / "prompts").glob("*/*.json")):
        made = json.loads(path.read_text(encoding="utf-8"))
        where = made["class"], made["group"]
        texts[*where, "add"] = sentences(made["phrases"])
        # A competitor of the other groups goes by its name, not by its phrases: those may change alone.
        texts[*where, "known"] = sentences(curated_phrases(*where) or rule_phrases(*where, COMPETITOR_PHRASES))
    for name in sorted(set(run.manifest["class"])):
        texts[name, "", "nor"] = normal_sentences(name)
        texts[name, "", "abn"] = abnormal_sentences(name)
    key = encoder_key(run.params.encoder)
    specs = {where: TextSpec(sentences=tuple(said), encoder=key) for where, said in texts.items()}
    records = run.items(encode, specs)
    rows = [(*where, np.load(run.work.store.path(record), allow_pickle=False)) for where, record in records.items()]
    frame = pd.DataFrame(rows, columns=["class", "group", "kind", "vector"])
    with replacing(TEXT_FEATURES) as temporary:
        frame.sort_values(["class", "kind", "group"]).to_parquet(temporary, index=False)
    run.finish()
