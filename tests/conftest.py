"""What Prefect and an interrupt need; file systems of a few MB that fill up or turn read-only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.scratch import DATABASE


def pytest_configure(config: pytest.Config) -> None:
    """What has to be there before anything is imported or started."""
    # Prefect makes its home in it (prefect.toml), but no parent of it.
    (config.rootpath / ".nand").mkdir(exist_ok=True)
    # A shell starts what runs in the background with SIGINT ignored, and what is started from there inherits it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """What a test writes need not outlive the machine's power, and to wait for a disk takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Path]:
    """An empty database for the Prefect servers of all scratch projects, made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "prefect_database"
    with FileLock(f"{home}.lock"):
        if not (home / "prefect.db").exists():
            made = home.with_name(f"{home.name}_{worker_id}")
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            own = {"PREFECT_HOME": str(made), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
            made.mkdir()
            subprocess.run(command, env={**os.environ, **own}, check=True, capture_output=True)
            made.rename(home)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(DATABASE, str(home / "prefect.db"))
        yield home / "prefect.db"


class Disk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments, str(self.folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise PermissionError(done.stderr.strip())

    def read_only(self, on: bool = True) -> None:
        """Refuse every write from now on, or none."""
        self._mount("-o", f"remount,{'ro' if on else 'rw'}")

    def fill(self, left: int = 0) -> Path:
        """Write until ``left`` bytes are free; the file that takes the room."""
        path = self.folder / "filling"
        with path.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 65536):
                    pass
            except OSError:
                pass
            file.truncate(max(0, file.tell() - left))
        return path


@pytest.fixture
def small_disk() -> Iterator[Callable[..., Disk]]:
    """Mounts a small file system over a folder; needs the right to mount."""
    mounted: list[Disk] = []

    def mount(folder: Path, size: str = "2m") -> Disk:
        try:
            mounted.append(Disk(folder, size))
        except OSError as error:
            pytest.skip(f"needs the right to mount a tmpfs ({error})")
        return mounted[-1]

    yield mount
    for disk in mounted:
        subprocess.run(["umount", "--lazy", str(disk.folder)], check=True)
