"""Shards partition the images, and a change of one image leaves distant shards as they were."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.features import shard_rows

PATHS = st.lists(st.integers(0, 9999), min_size=1, max_size=80, unique=True).map(
    lambda numbers: [f"carpet/test/good/{n:04d}.png" for n in sorted(numbers)]
)


def cut(paths: list[str], most: int) -> list[tuple[str, ...]]:
    return [tuple(shard["path"]) for shard in shard_rows(pd.DataFrame({"path": paths}), most)]


def is_border(path: str, most: int) -> bool:
    """Whether a shard ends after ``path`` whatever its neighbours are."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") % most == 0


@settings(max_examples=100, deadline=None)
@given(PATHS, st.integers(1, 40))
def test_shards_partition_the_rows_in_order(paths, most):
    shards = cut(paths, most)
    assert [path for shard in shards for path in shard] == paths
    assert all(1 <= len(shard) <= most for shard in shards)


@settings(max_examples=100, deadline=None)
@given(PATHS, st.integers(2, 40), st.data())
def test_one_image_changes_shards_between_two_borders_only(paths, most, data):
    i = data.draw(st.integers(0, len(paths) - 1))
    without = paths[:i] + paths[i + 1 :]
    start = max((j + 1 for j in range(i) if is_border(paths[j], most)), default=0)
    end = next((j + 1 for j in range(i + 1, len(paths)) if is_border(paths[j], most)), len(paths))
    near = set(paths[start:end])
    for changed in set(cut(paths, most)) ^ set(cut(without, most)):
        assert set(changed) <= near


@pytest.mark.parametrize("count", [100, 400])
def test_an_image_less_leaves_most_shards_cached(count):
    paths = [f"carpet/train/good/{i:04d}.png" for i in range(count)]
    full = set(cut(paths, 32))
    redone = [len(set(cut(paths[:i] + paths[i + 1 :], 32)) - full) for i in range(0, count, 3)]
    assert sorted(redone)[len(redone) // 2] == 1 and max(redone) <= 5


def test_no_rows_no_shards():
    assert cut([], 32) == []
