"""``python -m training.evaluate --model DIR``: the figures of the model card, on images never trained on."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file
from torch import Tensor

from nand_core.drawing.lexicon import Lexicon, lexicon
from nand_core.drawing.scenes import TYPES
from nand_core.drawing.textures import HELD_OUT
from nand_core.vlm.words import WordTokenizer
from training.measure import ImageSet, normality_gain, patch_embeddings, patch_figures
from training.model import Tower, build_clip
from training.targets import image_targets
from training.text import accuracy, state_features, text_targets

SEED = 20_000_000
#: Class -> name in sentences, texture families, types that are added as normal in turn.
CLASSES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "carpet": ("carpet", ("carpet",), ("thread", "hole", "stain", "metal")),
    "wood": ("wood", ("wood",), ("scratch", "hole", "liquid", "stain")),
    "leather": ("leather", ("leather",), ("cut", "glue", "fold", "poke")),
    "stone": ("tile", ("stone", "marble"), ("crack", "glue_strip", "stroke", "liquid")),
    "mesh": ("grid", ("mesh",), ("bent", "broken", "thread", "metal")),
    "cast": ("magnetic tile", ("cast",), ("pore", "chip", "crack", "fray", "uneven")),
    "knit (held out)": ("fabric", ("knit",), ("thread", "hole", "stain", "metal")),
    "cobble (held out)": ("stone", ("cobble",), ("crack", "liquid", "stain", "metal")),
    "corduroy (held out)": ("cloth", ("corduroy",), ("cut", "thread", "glue", "fold")),
}


@dataclass(frozen=True)
class Embedded:
    """The exported model, loaded for measuring."""

    model: open_clip.CLIP
    tower: Tower
    tokenizer: WordTokenizer

    @classmethod
    def load(cls, folder: Path) -> Embedded:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = build_clip(config).eval()
        model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
        tower = Tower(model.visual).eval()
        linear = load_file(folder / "linear.safetensors")
        tower.fc.load_state_dict({name.removeprefix("fc."): value for name, value in linear.items()})
        tokenizer = WordTokenizer.load(folder / config["tokenizer"], config["text_cfg"]["context_length"])
        return cls(model, tower, tokenizer)

    def feature(self, words: Lexicon, label: str, thing: str, phrases: int = 8) -> Tensor:
        """Text feature of a label: its states over 35 templates, as the prompts of a run would give it."""
        if label in words.states:
            states = list(words.states[label])[:7]
        else:
            rng = np.random.default_rng(7)
            states = [str(s) for s in rng.choice(words.phrasings(label), phrases, replace=False)]
        return state_features(self.model, self.tokenizer, states, thing, words.templates[5:45])


def class_gains(
    model: Embedded, words: Lexicon, count: int, difficulty: float
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """AUROC before, after and after with dilation, by class and added type."""
    gains = {}
    for k, (name, (thing, textures, types)) in enumerate(CLASSES.items()):
        first = SEED + 100 * k
        good = ImageSet.drawn(first, count, textures, normal=1.0, difficulty=difficulty).pixels
        bad = {}
        for i, kind in enumerate(types):
            images = ImageSet.drawn(first + i + 1, count, textures, types=(kind,), difficulty=difficulty)
            bad[kind] = patch_embeddings(model.tower, images.pixels[(images.labels > 0).flatten(1).any(1)])
        features = {label: model.feature(words, label, thing) for label in ("normal", "abnormal", *types)}
        gains[name] = normality_gain(bad, patch_embeddings(model.tower, good), features)
    return gains


def images_per_second(model: Embedded, count: int = 96, batch: int = 16) -> float:
    """Encoding speed of open_clip's own image tower on this machine."""
    pixels = torch.randn(count, 3, 128, 128)
    with torch.no_grad():
        began = time.perf_counter()
        for part in pixels.split(batch):
            model.model.visual.forward_intermediates(part, indices=[1, 3, 5])
    return count / (time.perf_counter() - began)


def report(folder: Path, count: int, difficulty: float) -> None:
    """Print the figures for images of one difficulty as Markdown."""
    model, words = Embedded.load(folder), lexicon()
    targets = image_targets(words, TYPES, model.model.visual.proj.shape[1])
    for name, textures in (("trained families", None), ("held-out families", tuple(HELD_OUT))):
        images = ImageSet.drawn(SEED, 6 * count, textures, difficulty=difficulty)
        kind, area = patch_figures(model.tower, images, targets)
        print(f"{name}: type accuracy {kind:.3f}, abnormal-patch AUROC {area:.3f}")
    spoken = text_targets(words, model.tower, 6 * count)
    for held_out in (False, True):
        right = accuracy(model.model, words, model.tokenizer, spoken, held_out)
        print(f"phrases {'held out' if held_out else 'trained'}: {right:.3f}")
    print("| class | added | before | after | dilated |\n|---|---|---|---|---|")
    means, worse = [], np.zeros(2, int)
    for name, rows in class_gains(model, words, count, difficulty).items():
        for kind, row in rows.items():
            print(f"| {name} | {kind} | {' | '.join(f'{value:.1f}' for value in row)} |")
            worse += [row[1] < row[0], row[2] < row[0]]
        means.append(np.mean(list(rows.values()), axis=0))
        print(f"| **{name}** | mean | {' | '.join(f'{value:.1f}' for value in means[-1])} |")
    print(f"| **all** | mean | {' | '.join(f'{value:.1f}' for value in np.mean(means, axis=0))} |")
    print(f"groups worse: {worse[0]}, dilated {worse[1]}; {images_per_second(model):.0f} images/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--count", type=int, default=32, help="images a type and class")
    parser.add_argument(
        "--difficulty", type=float, default=1.0, help="0 clear and calm to 1 as in training's end"
    )
    arguments = parser.parse_args()
    report(arguments.model, arguments.count, arguments.difficulty)
