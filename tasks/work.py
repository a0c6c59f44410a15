"""What the items of one stage share in a process: the store, the data root and the loaded encoder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nand_core.artifacts.store import Record, Store, digest
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
    _loaded: dict[tuple[str, str], VLM] = field(default_factory=dict, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[Callable[[str, Path, Store], Work], tuple[str, Path, Store]]:
        """A process that is sent items keeps one for all of them, and with it the loaded encoder."""
        return _of_process, (self.params.model_dump_json(), self.root, self.store)

    def vlm(
        self, encoder: Mapping[str, Any] | None = None, detector: str | None = None, heads: Record | None = None
    ) -> VLM:
        """The shared encoder, or the one that a detector asks for; loaded once. With a class's ``heads``, if any.

        Args:
            encoder: what :func:`encoder_key` gave: the encoder is of these files; None: as they are now.

        Raises:
            NandError: it cannot be loaded, or one of its files has changed since.
        """
        from nand_core.vlm.encoder import load_vlm  # takes seconds, and cached items never need it

        settings = self.params.encoder
        if detector is not None:
            settings = detector_encoder(self.params.detectors[detector], settings)
        files = (encoder or encoder_key(settings))["files"]
        section, name = settings.model_dump_json(), digest(files)
        with self._guard:
            if (section, name) not in self._loaded:
                # One of other files of these settings, if there is one, was loaded before they changed.
                self._loaded = {key: one for key, one in self._loaded.items() if key[0] != section}
                self._loaded[section, name] = load_vlm(settings, files)
            vlm = self._loaded[section, name]
            if heads is None:
                return vlm
            own = section, f"{name} {heads.sha256}"
            if own not in self._loaded:
                self._loaded[own] = vlm.adapted(self.store.path(heads))
            return self._loaded[own]


@lru_cache(maxsize=1)
def _of_process(params: str, root: Path, store: Store) -> Work:
    return Work(Params.model_validate_json(params), root, store)


def encoder_key(settings: EncoderSettings) -> dict[str, Any]:
    """What an encoding depends on: the weights' digests and how they are used."""
    return {
        "files": encoder_digest(settings),
        **settings.model_dump(mode="json", exclude={"sha256", "batch_size", "pretrained", "linear_layers", "adapt"}),
    }
