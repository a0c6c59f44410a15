"""Inspections that are killed at any step: every readable image still gets exactly one row."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inspection_line import drop, inspect, names, png, rows

GOOD = {f"{grey}.png": png(grey) for grey in range(5)} | {"twin.png": png(0)}
BAD = {"cut.png": png(1, 64)[:-60], "text.png": b"no image"}
STEPS = ("rename", "replace", "fsync", "open", "unlink")


class Killed(BaseException):
    """The process is gone: it does not clean up."""


class Steps:
    """Counts the calls that change or secure files; after the last of them the process is gone."""

    def __init__(self, patch: pytest.MonkeyPatch, last: int) -> None:
        self.count, self.last = 0, last
        for name in STEPS:
            patch.setattr(os, name, self._counted((lambda *_: None) if name == "fsync" else getattr(os, name)))

    def _counted(self, call: Callable) -> Callable:
        def counted(*arguments, **options):
            self.count += 1
            if self.count > self.last:
                raise Killed
            return call(*arguments, **options)

        return counted


def killed_inspection(root: Path, last: int) -> bool:
    """Whether the inspection came to its end first."""
    with pytest.MonkeyPatch.context() as patch:
        Steps(patch, last)
        try:
            inspect(root, most=2)
        except Killed:
            return False
        return True


def check_places(root: Path) -> None:
    """Nothing is lost or double, and what is done has its row."""
    everywhere = sorted(name for place in ("inbox", "taken", "done") for name in names(root, place))
    refused = [name for name in names(root, "quarantine") if not name.endswith(".reason.txt")]
    assert sorted([*everywhere, *refused]) == sorted([*GOOD, *BAD])
    found = rows(root)
    assert found["id"].is_unique
    assert set(names(root, "done")) <= set(found["name"]) <= set(GOOD)
    assert {f"{name}.reason.txt" for name in refused} <= set(names(root, "quarantine"))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=2, max_size=4))
@example([0, 0, 1])
def test_exactly_one_row_each_whatever_the_kills(kills):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, data in {**GOOD, **BAD}.items():
            drop(root, name, data)
        for last in kills:
            killed_inspection(root, last)
            check_places(root)
        inspect(root)
        check_places(root)
        assert sorted(rows(root)["name"]) == sorted(GOOD) == names(root, "done")
        assert len(names(root, "quarantine")) == 2 * len(BAD)
        assert not list(root.rglob(".tmp-*"))


def test_every_single_step_can_be_the_last(tmp_path):
    for last in itertools.count():
        root = tmp_path / str(last)
        for name, data in {**GOOD, **BAD}.items():
            drop(root, name, data)
        ended = killed_inspection(root, last)
        check_places(root)
        if ended:
            break
        inspect(root)
        assert sorted(rows(root)["name"]) == sorted(GOOD) == names(root, "done")
    assert last > 60, "every change of a file is a step"
