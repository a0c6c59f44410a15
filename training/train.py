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

from nand_core.drawing.textures import HELD_OUT
from training import checkpoint
from training.export import FILES, export
from training.measure import ImageSet, patch_figures
from training.settings import TrainSettings
from training.text import accuracy, text_targets, train_text
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


def text_tower(settings: TrainSettings, trainer: Trainer) -> dict[str, torch.Tensor]:
    """State dict of the finished model with its text tower trained, too; kept in ``DIR``."""
    path = settings.folder / "text.pt"
    if (kept := checkpoint.load(path)) is not None and kept["step"] == trainer.step:
        return kept["state"]
    model, tower = trainer.averaged()
    words, tokenizer = trainer.lexicon, trainer.tokenizer
    targets = text_targets(words, tower, settings.unknown)
    train_text(model, words, tokenizer, targets, settings.seed, settings.text_steps)
    checkpoint.save(path, {"step": trainer.step, "state": model.state_dict()})
    if settings.validation:
        known, held_out = (accuracy(model, words, tokenizer, targets, held) for held in (False, True))
        print(f"text: known phrases {known:.3f}, held out {held_out:.3f}", flush=True)
    return model.state_dict()


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


def _work(rank: int, settings: TrainSettings) -> None:
    torch.set_num_threads(1)
    if settings.processes > 1:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{(settings.folder / 'rendezvous').resolve()}",
            rank=rank,
            world_size=settings.processes,
        )
    trainer = Trainer(settings, rank)
    if rank == 0:
        _lead(trainer)
    else:
        while trainer.step < settings.total:
            trainer.train_step()
    if dist.is_initialized():
        dist.destroy_process_group()


def _lead(trainer: Trainer) -> None:
    """Train as the process that saves, logs and validates."""
    settings = trainer.settings
    log = Log(Path(settings.log or settings.out), trainer.step)
    validation = Validation(trainer) if settings.validation else None
    losses: list[dict[str, float]] = []
    with tqdm(total=settings.total, initial=trainer.step, desc="training", mininterval=10) as bar:
        while trainer.step < settings.total:
            losses.append(trainer.train_step())
            bar.update()
            done = trainer.step == settings.total
            at = {"step": trainer.step, "images": trainer.images}
            if validation and (done or trainer.step % settings.validate == 0):
                figures = validation.figures(trainer)
                log.add("validation", at | figures)
                bar.write(" ".join(f"{k} {v:.3f}" for k, v in figures.items()))
            if done or trainer.step % settings.save == 0:
                log.add("losses", at | pd.DataFrame(losses).mean().to_dict())
                losses.clear()
                trainer.save()


def _finish(settings: TrainSettings) -> None:
    """The text tower, which needs the finished image tower, and the files."""
    torch.set_num_threads(1)
    trainer = Trainer(settings, 0)
    model, tower = trainer.averaged()
    model.load_state_dict(text_tower(settings, trainer))
    target = Path(settings.export or settings.folder / "export")
    export(target, trainer.config, model, tower, trainer.lexicon.vocabulary)
    Log(Path(settings.log or settings.out), trainer.step).digests(target)


def train(settings: TrainSettings) -> None:
    """Train, or go on with the run in ``settings.out``, and export the model."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    (settings.folder / "rendezvous").unlink(missing_ok=True)
    if settings.processes > 1:
        mp.spawn(_work, (settings,), settings.processes)
    else:
        _work(0, settings)
    _finish(settings)


def _parse() -> TrainSettings:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in asdict(TrainSettings("")).items():
        kind = str if default is None or name == "out" else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, required=name == "out")
    return TrainSettings(**vars(parser.parse_args()))


if __name__ == "__main__":
    train(_parse())
