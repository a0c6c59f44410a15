"""A run whose items come out of the cache, or are computed here and now: without Prefect, and without its seconds."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pandas as pd

from flows.run import MANIFEST, STATE, Run
from nand_core.artifacts.remote import open_store
from nand_core.artifacts.store import Record, Store
from nand_core.config import Params, check_names
from nand_core.errors import NandError
from tasks.cache import Item, Spec, key_of, record_of
from tasks.work import Work

Key = TypeVar("Key", bound=Hashable)
KNOWN = 4096
"""Records that are remembered at most: each was looked at, byte by byte, when it was asked for first."""


@dataclass
class Direct(Run):
    """A run of one process that reads the manifest once.

    Attributes:
        table: the manifest.
        known: the records of items by their keys.
    """

    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    known: dict[str, Record] = field(default_factory=dict)

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
        return cls("page", params, Work(params, Path(params.dataset.root), store), hold, table=table)

    @property
    def manifest(self) -> pd.DataFrame:
        """As it was when this was made."""
        return self.table

    def items(self, made: Item, specs: Mapping[Key, Spec], stage: str | None = None) -> dict[Key, Record]:
        """An item for each spec, in their order."""
        return {key: self._item(made, spec) for key, spec in specs.items()}

    def _item(self, made: Item, spec: Spec) -> Record:
        key = key_of(made, spec)
        found = self.known.get(key)
        if found is None or not self.work.store.path(found).exists():
            found = record_of(made, spec, self.work)
            while len(self.known) >= KNOWN:
                self.known.pop(next(iter(self.known)), None)
            self.known[key] = found
        return found


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
