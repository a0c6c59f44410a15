"""Files that are replaced while runs read them, and put back."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

from nand_core.artifacts.maps import MapFile, write_maps
from nand_core.errors import NandError


class Swapper:
    """Replaces random images, masks and files of maps of a project again and again, and puts them back soon.

    By a rename, as most programs do it, or by writing over it; beginning after ``wait`` seconds.
    """

    def __init__(self, folder: Path, chance: random.Random, wait: float) -> None:
        self.folder, self.chance, self.wait, self.swaps = folder, chance, wait, 0
        self.images = {path: path.read_bytes() for path in sorted((folder / "data").rglob("*.png"))}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Swapper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for path, data in self.images.items():
            path.write_bytes(data)

    def _work(self) -> None:
        self._ended.wait(self.wait)
        while not self._ended.wait(self.chance.uniform(0, 0.5)):
            maps = [path for name in ("base_maps", "suppression", "rivals", "control")
                    for path in sorted((self.folder / "artifacts" / name).rglob("*.npz"))]  # fmt: skip
            paths = self.chance.sample(list(self.images), 4) + self.chance.sample(maps, min(2, len(maps)))
            # First others in all places, then the right ones: `zip` asks each path once a round.
            for contents in zip(*(self._other(path) for path in paths), strict=False):
                for path, data in zip(paths, contents, strict=True):
                    self._put(path, data)
                    self.swaps += 1
                self._ended.wait(self.chance.expovariate(1))

    def _other(self, path: Path) -> Iterator[bytes]:
        """Another content of the same kind, then the right one."""
        try:
            before = path.read_bytes()
            if path.suffix == ".npz":
                held = MapFile(path)
                made = path.with_name(".swap")
                write_maps(made, held.ids, [held[:][::-1]])
                other = made.read_bytes()
                made.unlink()
            else:
                other = self.chance.choice(list(self.images.values()))
        except (OSError, NandError):  # the run has just removed it
            other = before = b""
        yield other
        yield before

    def _put(self, path: Path, data: bytes) -> None:
        if not data or not path.exists():
            return
        if self.chance.random() < 0.5:
            path.write_bytes(data)
        else:
            beside = path.with_name(f".swap{path.suffix}")
            beside.write_bytes(data)
            os.replace(beside, path)
