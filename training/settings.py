"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are those of the shipped model. Lengths are in steps, so that a run is repeatable.

    Attributes:
        out: folder of everything that a run keeps, to go on after it was killed.
        export: folder of the finished model; None: ``out/export``.
        log: folder of ``losses.csv`` and ``validation.csv``; None: ``out``.
        steps: length of the image tower's training.
        again: length of a second cycle after it, of the same shape at half the rates.
        text_steps: length of the text tower's training.
        processes: single-threaded processes that average their gradients.
        batch: images a step and process; ``fresh`` of them are drawn anew a step.
        pool: images kept a process; ``start`` of them are drawn before the first step.
        ramp: images a process over which the difficulty rises.
        partial: share of a cycle that looks at 12x12 of the 16x16 patches of an image.
        muon_lr, adam_lr: learning rates of the blocks' matrices and of everything else.
        decay: of the average of the weights, which is what is exported.
        save: steps between checkpoints, at each of which the losses are logged.
        validate: steps between validations.
        validation: images of the validation set; 0: none.
        unknown: fresh images in whose patches "unknown" is kept from being found.
    """

    out: str
    export: str | None = None
    log: str | None = None
    seed: int = 0
    steps: int = 12500
    again: int = 7500
    text_steps: int = 450
    processes: int = 2
    batch: int = 12
    fresh: int = 12
    pool: int = 8192
    start: int = 1024
    ramp: int = 100_000
    partial: float = 0.8
    muon_lr: float = 2e-3
    adam_lr: float = 1e-3
    decay: float = 0.99
    save: int = 100
    validate: int = 1000
    validation: int = 192
    unknown: int = 256

    @property
    def total(self) -> int:
        """Steps of both cycles."""
        return self.steps + self.again

    def cycle(self, step: int) -> tuple[int, int, float]:
        """Where ``step`` is in its cycle, the cycle's length, and the factor on its rates."""
        return (step, self.steps, 1.0) if step < self.steps else (step - self.steps, self.again, 0.5)

    @property
    def folder(self) -> Path:
        return Path(self.out)
