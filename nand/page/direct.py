"""A run whose items come out of the cache, or are computed here and now: without Prefect, and without its seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from flows.run import MANIFEST, STATE, Run
from nand_core.artifacts.remote import open_store
from nand_core.artifacts.store import Record, Store
from nand_core.config import Params, check_names
from nand_core.errors import NandError
from tasks.cache import Item, Spec
from tasks.work import Work

KNOWN = 4096
"""Records that are remembered at most: each was looked at, byte by byte, when it was asked for first."""


@dataclass
class Direct(Run):
    """A run of one process that reads the manifest once.

    Attributes:
        table: the manifest.
        known: the records of items by their keys; ``guard`` is held while that changes.
    """

    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    known: dict[str, Record] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, params: Params) -> Direct:
        """For these settings.

        Raises:
            NandError: no manifest yet, or names in the settings that it does not know.
        """
        store = open_store(STATE)
        try:
            table = pd.read_parquet(MANIFEST)
        except (OSError, ValueError) as error:
            raise NandError(f"{MANIFEST}: not there yet; run 'nand repro' first") from error
        check_names(params, table)
        with holding(store):
            hold = store.hold()
        hold.close()
        return cls("page", params, Work(params, Path(params.dataset.root), store), hold, shown=False, table=table)

    @property
    def manifest(self) -> pd.DataFrame:
        """As it was when this was made."""
        return self.table

    def record(self, made: Item, spec: Spec) -> tuple[Record, bool]:
        """What an item gives, and whether it was there."""
        key = made.key(spec)
        found, cached = self.known.get(key), True
        if found is None or not self.work.store.path(found).exists():
            found, cached = super().record(made, spec)
            with self.guard:
                while len(self.known) >= KNOWN:
                    self.known.pop(next(iter(self.known)))
                self.known[key] = found
        return found, cached


@contextmanager
def holding(store: Store) -> Iterator[None]:
    """Keep ``nand cache prune`` from the store meanwhile.

    Raises:
        NandError: it is being pruned.
    """
    held = store.hold(wait=False)
    if held is None:
        raise NandError("the cache is being pruned; try again in a moment")
    with held:
        yield
