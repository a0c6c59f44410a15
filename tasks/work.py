"""What the items of one stage share in a process: the store, the data root and the loaded encoder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nand_core.artifacts.store import Record, Store
from nand_core.config import Params
from nand_core.detectors.settings import detector_encoder
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.sources import encoder_digest

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM


@dataclass
class Work:
    """Never part of a key: all that a result depends on stands in its spec.

    Attributes:
        params: the run's settings.
        root: the data root.
        store: where artifacts are kept.
    """

    params: Params
    root: Path
    store: Store
    _loaded: dict[str, VLM] = field(default_factory=dict, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[Callable[[str, Path, Store], Work], tuple[str, Path, Store]]:
        """A process that is sent items keeps one for all of them, and with it the loaded encoder."""
        return _of_process, (self.params.model_dump_json(), self.root, self.store)

    def vlm(self, detector: str | None = None, heads: Record | None = None) -> VLM:
        """The shared encoder, or the one that a detector asks for; loaded once. With a class's ``heads``, if any."""
        from nand_core.vlm.encoder import load_vlm  # takes seconds, and cached items never need it

        settings = self.params.encoder
        if detector is not None:
            settings = detector_encoder(self.params.detectors[detector], settings)
        name = settings.model_dump_json()
        with self._guard:
            if name not in self._loaded:
                self._loaded[name] = load_vlm(settings)
            vlm = self._loaded[name]
            if heads is None:
                return vlm
            own = f"{name} {heads.sha256}"
            if own not in self._loaded:
                self._loaded[own] = vlm.adapted(self.store.path(heads))
            return self._loaded[own]


@lru_cache(maxsize=1)
def _of_process(params: str, root: Path, store: Store) -> Work:
    return Work(Params.model_validate_json(params), root, store)


def encoder_key(settings: EncoderSettings) -> dict[str, object]:
    """What an encoding depends on: the weights' digests and how they are used."""
    return {
        "files": encoder_digest(settings),
        **settings.model_dump(mode="json", exclude={"sha256", "batch_size", "pretrained", "linear_layers", "adapt"}),
    }
