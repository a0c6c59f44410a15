"""Power that fails, and calls of the disk that fail: what was kept is right afterwards, and all goes on."""

from __future__ import annotations

import random
from itertools import count

import pytest

from benchmarks.cache_faults.power import FAULTS, call_failed, power_lost, recorded


def test_what_was_noted_outlives_the_power(tmp_path):
    """After every third step; ``benchmarks.cache_faults --only power`` has them all, several times."""
    disk, promises = recorded(tmp_path)
    chance = random.Random(0)  # noqa: S311 - a seeded draw
    assert len(disk.steps) > 60
    for done in range(0, len(disk.steps) + 1, 3):
        assert power_lost(disk, promises, done, chance, tmp_path / f"after {done}") == []


def test_a_store_that_does_not_sync_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr("nand_core.artifacts.disk.sync", lambda path: None)
    disk, promises = recorded(tmp_path)
    chance = random.Random(0)  # noqa: S311 - a seeded draw
    wrong = power_lost(disk, promises, len(disk.steps), chance, tmp_path / "after")
    assert any("lost" in one for one in wrong)


@pytest.mark.parametrize("first", range(3))
def test_any_call_may_fail(tmp_path, first):
    """Each kind of fault at every 15th call; ``benchmarks.cache_faults --only calls`` has them all."""
    for number in count(5 * first, 15):
        reached, wrong = call_failed(number, FAULTS[first], tmp_path / "disk")
        assert wrong == []
        if not reached:
            break
    assert number > 100
