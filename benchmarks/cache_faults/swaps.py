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
    """Replaces a random image, mask or file of maps of a project again and again, and mostly puts it back at once.

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
            path = self.chance.choice([self.chance.choice(list(self.images)), *self.chance.sample(maps, bool(maps))])
            for data in self._other(path):
                self._put(path, data)
                self.swaps += 1
                self._ended.wait(self.chance.expovariate(4))

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
            return
        yield other
        yield before

    def _put(self, path: Path, data: bytes) -> None:
        if not path.exists():
            return
        if self.chance.random() < 0.5:
            path.write_bytes(data)
        else:
            beside = path.with_name(f".swap{path.suffix}")
            beside.write_bytes(data)
            os.replace(beside, path)
