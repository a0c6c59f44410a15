"""A full or read-only disk costs one line and leaves nothing half-written, and afterwards all goes on."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from nand_core.artifacts.disk import refusals, replacing
from nand_core.artifacts.maps import write_maps
from nand_core.artifacts.store import Store
from nand_core.errors import NandError

MANY = np.arange(4 * 256 * 256, dtype=np.float32).reshape(4, 256, 256)  # 1 MiB
ROWS = pd.DataFrame(np.random.default_rng(0).random((60_000, 2)), columns=["a", "b"])
WRITERS: dict[str, Callable[[Path], object]] = {
    "maps": lambda path: write_maps(path, list("abcd"), (MANY[i : i + 1] for i in range(4))),
    "savez": lambda path: np.savez(path, pooled=MANY[0], layer_0=MANY),
    "safetensors": lambda path: save_file({"bank": torch.from_numpy(MANY)}, path),
    "parquet": lambda path: ROWS.to_parquet(path, index=False),
    "bytes": lambda path: path.write_bytes(b"x" * 2**20),
}


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def one_line(refused: pytest.ExceptionInfo, path: Path, number: int) -> None:
    text = str(refused.value)
    assert text.startswith(f"{path}: {os.strerror(number)}; make room") and "\n" not in text


def write(store: Store, name: str) -> None:
    with store.writing("npz") as put:
        WRITERS[name](put.path)


@pytest.mark.parametrize("left", [0, 4096, 300_000, "all but the last page"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(small_disk, tmp_path, capfd, name, left):
    disk = small_disk(tmp_path / "disk", "4m")
    store = Store(root=disk.folder / "store")
    store.put(b"kept", "json")
    before = files(store.root)
    if isinstance(left, str):
        write(Store(root=tmp_path / "elsewhere"), name)
        (whole,) = files(tmp_path / "elsewhere").values()
        left = (len(whole) - 1) // 4096 * 4096
    filling = disk.fill(left)
    with pytest.raises(NandError) as refused:
        write(store, name)
    one_line(refused, store.root / "tmp", errno.ENOSPC)
    assert files(store.root) == before
    assert capfd.readouterr() == ("", ""), "zipfile complains when it is collected half-written"
    filling.unlink()
    write(store, name)
    assert len(files(store.root)) == len(before) + 1


def test_a_record_on_a_full_disk(small_disk, tmp_path):
    disk = small_disk(tmp_path / "disk")
    store = Store(root=disk.folder)
    record = store.put(b"bytes", "json")
    filling = disk.fill()
    with pytest.raises(NandError) as refused:
        store.note("prompts-1", record)
    one_line(refused, store.records, errno.ENOSPC)
    filling.unlink()
    assert store.lookup("prompts-1") is None
    store.note("prompts-1", record)
    assert store.lookup("prompts-1") == record


def test_a_read_only_store(small_disk, tmp_path):
    disk = small_disk(tmp_path / "disk")
    store = Store(root=disk.folder)
    record = store.put(b"bytes", "json")
    disk.read_only()
    for act in (store.hold, lambda: store.put(b"others", "json"), lambda: store.note("prompts-1", record)):
        with pytest.raises(NandError, match=f"^{disk.folder}.*: Read-only file system; "):
            act()
    store.materialise({"a": record}, tmp_path / "out")
    assert files(tmp_path / "out") == {"a": b"bytes"}
    disk.read_only(False)
    store.hold().close()


def test_a_disk_that_turns_read_only_while_it_is_written(small_disk, tmp_path):
    disk = small_disk(tmp_path / "disk")
    store = Store(root=disk.folder)
    with pytest.raises(NandError) as refused, store.writing("json") as put:
        put.path.write_bytes(b"bytes")
        disk.read_only()
    one_line(refused, store.root / "objects", errno.EROFS)
    disk.read_only(False)
    assert not list((store.root / "objects").rglob("*.json"))


OLD, NEW = b"o" * 2**19, b"n" * 2**20


@pytest.fixture
def out(small_disk, tmp_path):
    """A store on one device; on another, smaller one an out folder with an old file and a stranger."""
    disk = small_disk(tmp_path / "out")
    store = Store(root=tmp_path / "store")
    (disk.folder / "a").write_bytes(OLD)
    (disk.folder / "stranger").write_bytes(b"stranger")
    return disk, store, {"a": store.put(NEW, "npz")}


def test_an_out_folder_on_another_device(out):
    disk, store, records = out
    assert disk.folder.stat().st_dev != store.root.stat().st_dev
    store.materialise(records, disk.folder)
    assert files(disk.folder) == {"a": NEW}


def test_a_copy_across_devices_is_seen_whole_or_not_at_all(out, monkeypatch):
    disk, store, records = out
    copy, seen = shutil.copyfile, []

    def watched(source, target):
        Path(target).write_bytes(NEW[:100])
        seen.append(((disk.folder / "a").read_bytes(), Path(target).parent))
        copy(source, target)
        seen.append(((disk.folder / "a").read_bytes(), Path(target).parent))

    monkeypatch.setattr(shutil, "copyfile", watched)
    store.materialise(records, disk.folder)
    assert seen == [(OLD, disk.folder)] * 2 and files(disk.folder) == {"a": NEW}


def test_a_full_out_folder_keeps_the_old_file(out):
    disk, store, records = out
    filling = disk.fill(left=4096)
    with pytest.raises(NandError) as refused:
        store.materialise({**records, "filling": store.put(filling.read_bytes(), "npz")}, disk.folder)
    one_line(refused, disk.folder, errno.ENOSPC)
    assert files(disk.folder) == {"a": OLD, "filling": filling.read_bytes()}
    store.materialise(records, disk.folder)
    assert files(disk.folder) == {"a": NEW}


def test_a_read_only_out_folder(out):
    disk, store, records = out
    disk.read_only()
    with pytest.raises(NandError, match="Read-only file system"):
        store.materialise(records, disk.folder)
    disk.read_only(False)
    store.materialise(records, disk.folder)
    assert files(disk.folder) == {"a": NEW}


@pytest.fixture
def not_root() -> Iterator[Path]:
    """A folder of somebody else's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield Path(folder)
        os.seteuid(user)
        Path(folder).chmod(0o755)


def test_a_folder_without_the_right_to_write(not_root):
    with pytest.raises(NandError) as refused, replacing(not_root / "a") as temporary:
        temporary.write_bytes(b"a")
    one_line(refused, not_root, errno.EACCES)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("hidden", [False, True])
def test_what_the_disk_refuses_is_found_behind_other_errors(tmp_path, number, hidden):
    with pytest.raises(NandError) as refused, refusals(tmp_path):
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            if not hidden:
                raise
            raise ValueError("Can't close the ZIP file while there is an open writing handle on it") from None
    one_line(refused, tmp_path, number)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), ValueError("x"), OSError("x"), KeyboardInterrupt()])
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as raised, refusals(tmp_path):
        raise error
    assert raised.value is error


def test_a_file_elsewhere_is_named_itself(tmp_path):
    image = tmp_path / "data" / "image.png"
    with pytest.raises(NandError) as refused, refusals(tmp_path / "store"):
        raise OSError(errno.EACCES, "Permission denied", str(image))
    one_line(refused, image, errno.EACCES)
