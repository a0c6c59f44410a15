"""Image encodings and text features as the later stages use them."""

from __future__ import annotations

import hashlib

import pandas as pd

from flows.run import ARTIFACTS, Run
from nand_core.artifacts.store import Record
from nand_core.errors import NandError
from tasks.encoder import encoder_key
from tasks.image_features import EncodeSpec, Shard, image_features

TEXT_FEATURES = ARTIFACTS / "text_features.parquet"
HEADS = ARTIFACTS / "heads"


def shard_rows(rows: pd.DataFrame, most: int) -> list[pd.DataFrame]:
    """Cut rows into shards of at most ``most`` images.

    A shard also ends after an image whose path's hash says so: an image more or less moves the
    borders of its neighbourhood only, and the other shards stay cached.
    """
    shards, start = [], 0
    for position, path in enumerate(rows["path"]):
        mark = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4]) % most == 0
        if mark or position + 1 - start == most or position + 1 == len(rows):
            shards.append(rows.iloc[start : position + 1])
            start = position + 1
    return shards


def class_shards(
    run: Run, split: str, encoded: bool, class_name: str | None = None, whole: bool = False
) -> dict[str, tuple[Shard, ...]]:
    """The shards of every class in one split, or of the one named.

    If ``encoded``, with their encodings, computed where the cache lacks them. Where images are looked at in tiles, and
    not as a ``whole``, each is a shard of its own: so many tiles are enough for an item.
    """
    manifest, bits = run.manifest, run.bits
    tiles = None if whole else run.params.encoder.tiles
    most = run.params.run.shard if tiles is None else 1
    parts: dict[tuple[str, int], pd.DataFrame] = {}
    for name, rows in manifest[manifest["split"] == split].groupby("class", sort=True):
        if class_name in (None, name):
            for i, part in enumerate(shard_rows(rows, most)):
                parts[str(name), i] = part
    records = {}
    if encoded:
        key = encoder_key(run.params.encoder)
        specs = {
            where: EncodeSpec(
                images=tuple(part["sha256"]), paths=tuple(part["path"]), encoder=key, bits=bits, tiles=tiles
            )
            for where, part in parts.items()
        }
        records = run.items(image_features, specs, stage="image_features")
    shards: dict[str, tuple[Shard, ...]] = {}
    for (name, i), part in parts.items():
        shard = Shard(
            ids=tuple(part["path"]),
            images=tuple(part["sha256"]),
            features=records.get((name, i)),
            bits=bits,
            tiles=tiles,
        )
        shards[name] = (*shards.get(name, ()), shard)
    return shards


def text_vectors() -> dict[tuple[str, str, str], tuple[float, ...]]:
    """(class, group, kind) -> the unit vector; group is empty for kinds nor, abn and nonsense."""
    try:
        frame = pd.read_parquet(TEXT_FEATURES)
    except (OSError, ValueError) as error:
        raise NandError(f"{TEXT_FEATURES}: not readable ({error}); run the text_features stage") from error
    names = zip(frame["class"], frame["group"], frame["kind"], strict=True)
    return {name: tuple(map(float, vector)) for name, vector in zip(names, frame["vector"], strict=True)}


def class_heads(run: Run) -> dict[str, Record]:
    """Every class's heads as the adaptation stage left them; empty where there are none of their own."""
    if not run.params.encoder.by_class:
        return {}
    heads = {}
    for name in run.manifest["class"].unique():
        path = HEADS / f"{name}.safetensors"
        if not path.is_file():
            raise NandError(f"{path}: not there, but encoder.adapt or encoder.centre is on; run the adaptation stage")
        heads[str(name)] = run.work.store.put(path.read_bytes(), "safetensors")
    return heads
