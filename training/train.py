"""``python -m training.train --out DIR --seed S``: trains the embedded model and exports it.

Two single-thread processes average their gradients. All that a run needs to go on after it was killed is
in ``DIR``: run the same command again.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tqdm import tqdm

from nand_core.vlm.words import WordTokenizer
from training import checkpoint
from training.export import FILES
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


class Log:
    """``losses.csv``, means since the checkpoint before, ``validation.csv`` and, in the end, ``sha256.txt``."""

    def __init__(self, folder: Path, step: int) -> None:
        """Drop what a killed run wrote after its last checkpoint, at ``step``: it is done again."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.csv"):
            rows = pd.read_csv(path)
            rows[rows["step"] <= step].dropna().to_csv(path, index=False)

    def digests(self, folder: Path) -> None:
        """``sha256.txt``, as ``sha256sum`` writes it: which files the run gave."""
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
            for path in (folder / name for name in FILES)
        ]
        checkpoint.write_atomically(self._folder / "sha256.txt", lambda path: path.write_text("".join(lines)))

    def add(self, name: str, row: dict[str, float]) -> None:
        path = self._folder / f"{name}.csv"
        frame = pd.DataFrame([row]).map(lambda value: float(f"{value:.5g}")).astype({"step": int, "images": int})
        frame.to_csv(path, mode="a", header=not path.is_file(), index=False)


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
    if rank == 0:
        _lead(trainer)
    else:
        while trainer.step < settings.steps:
            trainer.train_step()
    if dist.is_initialized():
        dist.destroy_process_group()


def _lead(trainer: Trainer) -> None:
    """Train as the process that saves, logs, validates and exports."""
    settings = trainer.settings
    log = Log(Path(settings.log or settings.out), trainer.step)
    draft = settings.folder / "export"
    validation = Validation(trainer) if settings.validation else None
    losses: list[dict[str, float]] = []
    with tqdm(total=settings.steps, initial=trainer.step, desc="training", mininterval=10) as bar:
        while trainer.step < settings.steps:
            losses.append(trainer.train_step())
            bar.update()
            done = trainer.step == settings.steps
            at = {"step": trainer.step, "images": trainer.images}
            if done or trainer.step % settings.validate == 0:
                trainer.export(draft)
                if validation:
                    figures = validation.figures(trainer)
                    log.add("validation", at | figures)
                    bar.write(" ".join(f"{k} {v:.3f}" for k, v in figures.items()))
            if done or trainer.step % settings.save == 0:
                log.add("losses", at | pd.DataFrame(losses).mean().to_dict())
                losses.clear()
                trainer.save()
    target = Path(settings.export) if settings.export else draft
    trainer.export(target)  # also what a finished run does when it is started again, e.g. with another text tower
    log.digests(target)


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
