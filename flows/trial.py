"""What a normality would do, before anything is written: the stages' items, none of their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.changes import changed_images, draw, write_page
from flows.claims import Tried
from flows.evaluate import NORMALITIES, decision_rules, effect_specs
from flows.examples import Reference
from flows.features import text_vectors
from flows.prompts import prompt_spec
from flows.record import record_stage
from flows.run import STATE, Run
from flows.suppression import Where, question, suppression_specs
from flows.text_features import check_normality, warn_of_unknown
from nand_core.artifacts.disk import replacing
from nand_core.artifacts.store import sha256_file
from nand_core.asked import Asked
from nand_core.errors import NandError
from nand_core.normalities import Normality, current, known_groups
from nand_core.operating import effect_table
from nand_core.prompts.templates import sentences
from nand_core.report.changes import against, render_changes
from nand_core.vlm.tokenizers import load_tokenizer
from tasks.encoder import encoder_key
from tasks.normalities import EffectSpec
from tasks.normalities import normalities as judge
from tasks.prompts import prompts as make_phrases
from tasks.suppression import suppression as draw_maps
from tasks.text_features import TextSpec
from tasks.text_features import text_features as encode

TRIAL = STATE / "trial"
EFFECT, PAGE = TRIAL / "effect.parquet", TRIAL / "index.html"


def trial(class_name: str, name: str, params: str, examples: str, page: str = "") -> None:
    """Look at what a normality would do: what :func:`tried` writes, and ``.nand/trial/index.html`` with its pictures.

    No flow: nobody has to wait for a server to see what a text does.

    Args:
        class_name: a class of the data set.
        name: stem of the files that the normality would have.
        params: settings that hold the normality.
        examples: folder with ``<class>/<file>`` of its examples.
        page: ``page`` for the page as well.
    """
    run = Run.start("trial", Path(params))
    one = _normality(run, class_name, name)
    effect, judged = tried(run, one, Path(examples))
    if page:
        _show(run, one, effect, judged)
    run.hold.close()
    for stage, counts in run.counts.items():  # under the names of the stages whose items they are
        record_stage(STATE, stage, counts)


def _show(run: Run, one: Normality, effect: pd.DataFrame, judged: Mapping[tuple[str, str], EffectSpec]) -> None:
    now = pd.read_parquet(NORMALITIES)
    rows = against(now[now["class"] == one.class_name], effect)
    images = changed_images(run, rows)
    title = f"What {one.text!r} would change"
    lead = f"If it were normal for {one.class_name}: which images change sides? Nothing is changed yet."
    html, pictures = render_changes(title, lead, rows, images), draw(run, images, judged)
    with run.writing():
        write_page(run, PAGE, html, pictures)


def tried(run: Run, one: Normality, examples: Path) -> tuple[pd.DataFrame, dict[tuple[str, str], EffectSpec]]:
    """The class's rows of ``results/normalities.parquet`` by the run's settings, written to ``.nand/trial``.

    No file of the project changes and no test image is encoded; what is computed here is in the cache when the same
    normality is added. Also gives what the rows were computed from.
    """
    new: dict[str, Tried] = {}
    where = one.class_name, one.name
    if one.apart:
        said = _asked(run, one) if one.asked else None
        asked: dict[Where, Asked | None] = {where: said}
        specs = suppression_specs(run, asked, {where: one}, Reference(run, examples), one.class_name)
        (record,) = run.items(draw_maps, specs, stage="suppression").values()
        new[one.name] = Tried(run.work.store.path(record), said.f_add if said else None)
    digest = cache(sha256_file)
    judged = effect_specs(run, decision_rules(run, digest, one.class_name), digest, one.class_name, new)
    records = run.items(judge, judged, stage="evaluate")
    effect = effect_table(*(pd.read_parquet(run.work.store.path(record)) for record in records.values()))
    with replacing(EFFECT) as temporary:
        effect.to_parquet(temporary, index=False)
    return effect, judged


def _normality(run: Run, class_name: str, name: str) -> Normality:
    held = current(run.params.prompts, known_groups(run.manifest))
    for one in held:
        if (one.class_name, one.name) == (class_name, name):
            return one
    raise NandError(f"{class_name}: the settings have no normality whose files are called {name!r}")


def _asked(run: Run, one: Normality) -> Asked:
    """The question about a normality's text, whose phrases are printed."""
    made, asked = asked_of(run, one)
    describe(made)
    warn_of_unknown(f"{one.class_name}/{one.name}", made, load_tokenizer(run.params.encoder))
    return asked


def asked_of(run: Run, one: Normality) -> tuple[dict[str, Any], Asked]:
    """The prompt set of a normality that is yet to be one, and the question that it gives."""
    specs = {"": prompt_spec(run, one.class_name, one.text, one.phrases)}
    (record,) = run.items(make_phrases, specs, stage="prompts").values()
    made: dict[str, Any] = json.loads(run.work.store.path(record).read_bytes())
    check_normality(one, made, load_tokenizer(run.params.encoder))
    said = TextSpec(sentences=tuple(sentences(made["phrases"])), encoder=encoder_key(run.params.encoder))
    (record,) = run.items(encode, {"": said}, stage="text_features").values()
    vectors = text_vectors()
    if (one.class_name, "", "nor") not in vectors:
        raise NandError(f"class {one.class_name!r}: no text features yet; run 'nand repro' first")
    vectors[one.class_name, one.name, "add"] = tuple(np.load(run.work.store.path(record), allow_pickle=False).tolist())
    groups = known_groups(run.manifest)
    return made, question(vectors, groups, run.params.suppression, (one.class_name, one.name), one)


def describe(made: dict[str, Any]) -> None:
    """Print a prompt set's phrases and where they come from."""
    phrases = made["phrases"]
    source = " ".join(str(made[key]) for key in ("provider", "model") if made[key])
    print(f"{made['class']}, {made['group']!r}: {len(phrases)} phrases ({source})", flush=True)
    for phrase in phrases:
        print(f"  {phrase}", flush=True)
