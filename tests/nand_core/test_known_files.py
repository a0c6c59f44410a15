"""What is remembered about files, and when it is not believed."""

from __future__ import annotations

import os
import time

import pytest

from nand_core.artifacts.known_files import SETTLED, KnownFiles


@pytest.fixture
def asked():
    """The paths that were really read."""
    return []


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that was last changed long ago, as the clock here says."""
    path = tmp_path / "weights"
    path.write_text("one")
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + int(2 * SETTLED * 1e9))
    return path


def ask(known, path, asked):
    def read(found):
        asked.append(found)
        return found.read_text()

    return known.ask(path, "text", read)


def test_a_file_is_read_once_over_several_runs(tmp_path, file, asked):
    for _ in range(3):
        known = KnownFiles(tmp_path / "known.json")
        assert [ask(known, file, asked) for _ in range(2)] == ["one", "one"]
        known.save()
    assert len(asked) == 1


def test_another_content_is_seen_though_size_and_time_of_change_stay(tmp_path, file, asked):
    before = file.stat()
    known = KnownFiles(tmp_path / "known.json")
    ask(known, file, asked)
    known.save()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ask(KnownFiles(tmp_path / "known.json"), file, asked) == "two"


def test_what_has_just_changed_is_not_remembered(tmp_path, asked):
    path = tmp_path / "weights"
    path.write_text("one")
    known = KnownFiles(tmp_path / "known.json")
    assert [ask(known, path, asked) for _ in range(2)] == ["one", "one"] and len(asked) == 2


@pytest.mark.parametrize("damage", ["", "{", "[1]", "null"])
def test_a_damaged_memory_is_begun_anew(tmp_path, file, asked, damage):
    (tmp_path / "known.json").write_text(damage)
    assert ask(KnownFiles(tmp_path / "known.json"), file, asked) == "one"
