"""The camera over the line: light gradient, vignetting, colour drift, defocus, sensor noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nand_core.datasets.demo.paint import Array, Random, coordinates


@dataclass(frozen=True)
class Camera:
    """One exposure's settings: ``gain`` (n, n, 3), ``defocus`` (pixels), ``grain`` (n, n, 3) of noise."""

    gain: Array
    defocus: float
    grain: Array

    @classmethod
    def draw(cls, rng: Random, n: int) -> Camera:
        """The settings by which one picture differs from the next."""
        x, y = coordinates(n, rng.uniform(0, 2 * np.pi))
        field = 1 + rng.uniform(0.03, 0.18) * (x - 0.5)
        field *= 1 - rng.uniform(0.08, 0.30) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
        tint = rng.normal(1, 0.009, 3) * rng.normal(1, 0.04)
        grain = rng.standard_normal((n, n, 3), dtype=np.float32) * np.float32(rng.uniform(0.010, 0.020))
        return cls((field[..., None] * tint).astype(np.float32), rng.uniform(0.35, 0.6) * n / 128, grain)

    def expose(self, rgb: Array) -> Array:
        """The noiseless picture (n, n, 3) of a scene drawn twice as fine, (2n, 2n, 3)."""
        n = self.gain.shape[0]
        scene = np.clip(rgb, 0, 1).reshape(n, 2, n, 2, 3).mean(axis=(1, 3))
        return np.clip(ndimage.gaussian_filter(scene, (self.defocus, self.defocus, 0)) * self.gain, 0, 1)

    def develop(self, picture: Array) -> NDArray[np.uint8]:
        """8-bit pixels (n, n, 3) of an exposed picture; noise grows with the light, as photons' does."""
        noisy = picture + self.grain * np.sqrt(picture + 0.1)
        pixels: NDArray[np.uint8] = np.clip(np.rint(255 * noisy), 0, 255).astype(np.uint8)
        return pixels
