"""``python -m training.train --out DIR --seed S --minutes M``: trains the embedded model and exports it.

Two single-thread processes average their gradients. All that a run needs to go on after it was killed is
in ``DIR``: run the same command again.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nand_core.vlm.words import WordTokenizer
from training import checkpoint
from training.lexicon import lexicon
from training.measure import ImageSet, patch_figures
from training.model import build_clip, model_config
from training.settings import TrainSettings
from training.text import accuracy, train_text
from training.textures import HELD_OUT
from training.trainer import Trainer

_VALIDATION_SEED = 10_000_000


class Validation:
    """Fresh images, of the trained and of the held-out texture families."""

    def __init__(self, trainer: Trainer) -> None:
        count = trainer.settings.validation
        self.seen = ImageSet.drawn(_VALIDATION_SEED, count)
        self.unseen = ImageSet.drawn(_VALIDATION_SEED + 1, count // 2, tuple(HELD_OUT))

    def figures(self, trainer: Trainer) -> dict[str, float]:
        _, tower = trainer.averaged()
        names = ("type_accuracy", "patch_auroc", "type_accuracy_held_out", "patch_auroc_held_out")
        values = [patch_figures(tower, images, trainer.targets) for images in (self.seen, self.unseen)]
        return dict(zip(names, (v for pair in values for v in pair), strict=True))


def text_tower(settings: TrainSettings) -> dict[str, torch.Tensor]:
    """State dict of a model whose text tower is trained; kept in ``DIR``."""
    path = settings.folder / "text.pt"
    if (state := checkpoint.load(path)) is None:
        torch.manual_seed(settings.seed)
        words = lexicon()
        tokenizer = WordTokenizer(words.vocabulary, 32)
        model = build_clip(model_config(tokenizer.vocab_size))
        train_text(model, words, tokenizer, settings.seed, settings.text_steps)
        state = model.state_dict()
        checkpoint.save(path, state)
        if settings.validation:
            print(
                f"text: known phrases {accuracy(model, words, tokenizer, False):.3f}, "
                f"held out {accuracy(model, words, tokenizer, True):.3f}",
                flush=True,
            )
    return state


def _log(path: Path, row: dict[str, float]) -> None:
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5g}" for k, v in row.items()})


def _work(rank: int, settings: TrainSettings, text: dict[str, torch.Tensor]) -> None:
    torch.set_num_threads(1)
    if settings.processes > 1:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{(settings.folder / 'rendezvous').resolve()}",
            rank=rank,
            world_size=settings.processes,
        )
    trainer = Trainer(settings, rank, text)
    validation = Validation(trainer) if rank == 0 and settings.validation else None
    target = Path(settings.export) if settings.export else settings.folder / "export"
    saved = exported = trainer.elapsed
    means: dict[str, float] = {}
    while trainer.progress < 1:
        for name, value in trainer.train_step().items():
            means[name] = 0.98 * means.get(name, value) + 0.02 * value
        done = trainer.progress >= 1
        if rank == 0 and (done or trainer.elapsed - saved > 75):
            trainer.save()
            images = trainer.step * settings.batch * settings.processes
            _log(settings.folder / "losses.csv", {"minutes": trainer.elapsed / 60, "images": images, **means})
            saved = trainer.elapsed
        if rank == 0 and (done or trainer.elapsed - exported > 60 * settings.every_minutes):
            trainer.export(target)
            exported = trainer.elapsed
            if validation:
                figures = validation.figures(trainer)
                _log(
                    settings.folder / "validation.csv",
                    {"minutes": trainer.elapsed / 60, "images": images, **figures},
                )
                print(trainer.step, images, figures, flush=True)
    if rank == 0:  # also what a finished run does when it is started again, e.g. with another text tower
        trainer.export(target)
    if dist.is_initialized():
        dist.destroy_process_group()


def train(settings: TrainSettings) -> None:
    """Train, or go on with the run in ``settings.out``, and export the model."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    text = text_tower(settings)
    (settings.folder / "rendezvous").unlink(missing_ok=True)
    if settings.processes > 1:
        mp.spawn(_work, (settings, text), settings.processes)
    else:
        _work(0, settings, text)


def _parse() -> TrainSettings:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in asdict(TrainSettings("")).items():
        kind = str if default is None or name == "out" else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, required=name == "out")
    return TrainSettings(**vars(parser.parse_args()))


if __name__ == "__main__":
    train(_parse())
