"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are those of the shipped model.

    Attributes:
        out: folder of everything that a run keeps, to go on after it was killed.
        export: folder of the exported model; None: ``out/export``.
        minutes: length of the image tower's training, where ``steps`` is 0.
        steps: length in steps, which makes a run repeatable.
        text_steps: length of the text tower's training.
        processes: single-threaded processes that average their gradients.
        batch: images a step and process; ``fresh`` of them are drawn anew a step.
        pool: images kept a process; ``start`` of them are drawn before the first step.
        ramp: images a process over which the difficulty rises.
        partial: share of the run that looks at 12x12 of the 16x16 patches of an image.
        muon_lr, adam_lr: learning rates of the blocks' matrices and of everything else.
        decay: of the average of the weights, which is what is exported.
        every_minutes: between exports.
        validation: images of the validation set; 0: none.
    """

    out: str
    export: str | None = None
    seed: int = 0
    minutes: float = 60.0
    steps: int = 0
    text_steps: int = 450
    processes: int = 2
    batch: int = 12
    fresh: int = 4
    pool: int = 8192
    start: int = 1024
    ramp: int = 60000
    partial: float = 0.75
    muon_lr: float = 2e-3
    adam_lr: float = 1e-3
    decay: float = 0.99
    every_minutes: float = 5.0
    validation: int = 192

    @property
    def folder(self) -> Path:
        return Path(self.out)
