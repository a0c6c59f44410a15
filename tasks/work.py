"""What the items of one stage share in a process: the store, the data root and what was loaded (tasks.encoder)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nand_core.artifacts.store import Store
from nand_core.config import Params

if TYPE_CHECKING:
    from nand_core.vlm.encoder import VLM


@dataclass
class Work:
    """Never part of a key: all that a result depends on stands in its spec.

    Attributes:
        params: the run's settings.
        root: the data root.
        store: where artifacts are kept.
        loaded: encoders, by what was asked for; ``guard`` is held while that changes.
    """

    params: Params
    root: Path
    store: Store
    loaded: dict[tuple[str, str], VLM] = field(default_factory=dict, repr=False)
    guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[Callable[[str, Path, Store], Work], tuple[str, Path, Store]]:
        """A process that is sent items keeps one for all of them, and with it the loaded encoder."""
        return _of_process, (self.params.model_dump_json(), self.root, self.store)


@lru_cache(maxsize=1)
def _of_process(params: str, root: Path, store: Store) -> Work:
    return Work(Params.model_validate_json(params), root, store)

