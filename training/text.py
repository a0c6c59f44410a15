"""Trains the text tower: sentences onto the fixed targets."""

from __future__ import annotations

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from nand_core.drawing.lexicon import Lexicon
from nand_core.vlm.words import WordTokenizer
from training.measure import ImageSet, patch_embeddings
from training.model import Tower
from training.targets import LOGIT_SCALE, known_targets, unknown_target

_UNKNOWN_SEED = 30_000_000
TEXT_TOWER = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")


def text_targets(lexicon: Lexicon, tower: Tower, images: int) -> Tensor:
    """Targets (labels, dim) in the order of ``lexicon.labels``; "unknown" is found on fresh drawn images."""
    known = known_targets(lexicon, tower.visual.proj.shape[1])
    patches = patch_embeddings(tower, ImageSet.drawn(_UNKNOWN_SEED, images).pixels).flatten(0, 2)
    return torch.cat([known, unknown_target(patches, known[0])[None]])


def train_text(
    model: open_clip.CLIP,
    lexicon: Lexicon,
    tokenizer: WordTokenizer,
    targets: Tensor,
    seed: int,
    steps: int,
    batch: int = 256,
) -> None:
    """Train the text tower of ``model`` in place onto ``targets`` (labels, dim); the image tower is left alone."""
    parameters = [p for name, p in model.named_parameters() if name.startswith(TEXT_TOWER)]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / 40, 1.0, 2.0 * (1 - step / steps) + 0.01)
    )
    rng = np.random.default_rng([seed, 1])
    for _ in range(steps):
        texts, labels = zip(*(lexicon.sentence(rng) for _ in range(batch)), strict=True)
        embeddings = F.normalize(model.encode_text(tokenizer(texts)), dim=-1)
        wanted = targets[list(labels)]
        loss = F.cross_entropy(LOGIT_SCALE * embeddings @ targets.T, torch.tensor(labels))
        loss = loss + 4 * (1 - (embeddings * wanted).sum(-1)).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()


@torch.no_grad()
def state_features(
    model: open_clip.CLIP, tokenizer: WordTokenizer, states: list[str], thing: str, templates: tuple[str, ...]
) -> Tensor:
    """The text feature (dim,) of a set of states, as NAND makes it: unit(mean(unit(sentence embeddings)))."""
    sentences = [t.replace("{}", s.replace("{}", thing)) for s in states for t in templates]
    return F.normalize(F.normalize(model.encode_text(tokenizer(sentences)), dim=-1).mean(0), dim=0)


@torch.no_grad()
def accuracy(
    model: open_clip.CLIP, lexicon: Lexicon, tokenizer: WordTokenizer, targets: Tensor, held_out: bool, seed: int = 9
) -> float:
    """Share of phrases whose feature (7 templates, three objects) is nearest to its type's of ``targets``."""
    rng = np.random.default_rng(seed)
    hits = []
    for name, entry in lexicon.types.items():
        known = lexicon.phrasings(name)
        for phrase in entry.held_out if held_out else rng.choice(known, min(12, len(known)), replace=False):
            things = rng.choice(lexicon.objects, 3)
            feature = sum(
                state_features(model, tokenizer, [str(phrase)], str(t), lexicon.templates[3::7])
                for t in things
            )
            hits.append(lexicon.labels[int((targets @ feature).argmax())] == name)
    return float(np.mean(hits))
