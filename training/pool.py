"""A ring of generated images on disk, topped up while training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from nand_core.drawing.canvas import SIZE
from nand_core.drawing.scenes import scene


class Pool:
    """Images ``[newest - capacity, newest)`` of the data set ``seed``, each in slot ``index % capacity``.

    A slot says which image it holds, so that a run that was killed picks up the same pool without drawing
    again what is already there. Images grow harder over the first ``ramp`` of them.
    """

    def __init__(self, folder: Path, seed: int, capacity: int, ramp: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.seed, self.capacity, self.ramp, self.newest = seed, capacity, ramp, 0
        self.images = _memmap(folder / f"images-{seed}.npy", (capacity, SIZE, SIZE, 3), np.uint8)
        self.labels = _memmap(folder / f"labels-{seed}.npy", (capacity, SIZE, SIZE), np.uint8)
        self._held = _memmap(folder / f"held-{seed}.npy", (capacity,), np.int64)  # index + 1; 0: empty

    def fill(self, newest: int) -> None:
        """Make the pool hold the images before ``newest``."""
        for index in range(max(0, newest - self.capacity, self.newest), newest):
            self._draw(index)
        self.newest = newest

    def _draw(self, index: int) -> None:
        slot = index % self.capacity
        if self._held[slot] == index + 1:
            return
        self._held[slot] = 0
        drawn = scene(self.seed, index, difficulty=self.difficulty(index))
        self.images[slot], self.labels[slot] = drawn.image, drawn.labels
        self._held[slot] = index + 1

    def difficulty(self, index: int) -> float:
        """Rises to 1 with ``index``; every third image is easier than the rest, at random."""
        level = min(1.0, index / self.ramp) if self.ramp else 1.0
        return level if index % 3 else level * float(np.random.default_rng([self.seed, index, 1]).uniform())

    def batch(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Random images (size, S, S, 3) and labels (size, S, S), each flipped and turned at random."""
        slots = rng.integers(min(self.newest, self.capacity), size=size)
        images, labels = [], []
        for slot in slots:
            turns, flip = rng.integers(4), rng.integers(2)
            image, label = np.rot90(self.images[slot], turns), np.rot90(self.labels[slot], turns)
            images.append(image[:, ::-1] if flip else image)
            labels.append(label[:, ::-1] if flip else label)
        return np.stack(images), np.stack(labels)


def _memmap(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    if path.is_file():
        array = open_memmap(path, mode="r+")
        if array.shape == shape:
            return array
    return open_memmap(path, mode="w+", dtype=dtype, shape=shape)
