"""The store's records as Prefect reads them."""

from __future__ import annotations

from typing import Any

from prefect.filesystems import WritableFileSystem
from prefect.results import ResultRecord, ResultRecordMetadata  # type: ignore[attr-defined]  # no __all__ there
from prefect.serializers import JSONSerializer

from nand_core.artifacts.store import Record, Store


class StoreRecords(WritableFileSystem):
    """Prefect's result storage over ``Store.records``.

    On disk lies the plain record: a file of Prefect's own would name the serializer that reads it, pickle
    among them, and an absolute path.
    """

    store: Store

    def _resolve_path(self, path: str) -> None:
        """Prefect asks for a place on a disk: a key has none."""

    def read_path(self, path: str, **_: Any) -> bytes:  # type: ignore[override]  # Prefect awaits if need be
        """The record of a key in Prefect's wrapping; raises what reading a missing or unreadable one does."""
        record = Record.model_validate_json((self.store.records / path).read_bytes())
        metadata = ResultRecordMetadata(storage_key=path, serializer=JSONSerializer())
        return ResultRecord(metadata=metadata, result=record.model_dump()).serialize()

    def write_path(self, path: str, content: bytes, **_: Any) -> None:  # type: ignore[override]  # as above
        """Nothing: the item has noted its record already (``tasks.cache.Item``)."""
