"""``python -m benchmarks.peers [--rows NAME ...] [--quick]``: NAND beside anomalib, faiss, timm, Prefect and DVC.

Makes an environment with the peers (``.venv-peers``, git-ignored, made anew when the packages change) and measures in
it: ``benchmarks.peers.measure``, which takes the arguments.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.scratch import ROOT

ENVIRONMENT = ROOT / ".venv-peers"
CONSTRAINTS, PROJECT = ROOT / "constraints.txt", ROOT / "pyproject.toml"
PEERS = Path(__file__).with_name("requirements.txt")


def environment() -> Path:
    """Its Python, with NAND's packages and the peers' installed."""
    python, stamp = ENVIRONMENT / "bin/python", ENVIRONMENT / "installed"
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in (CONSTRAINTS, PROJECT, PEERS))).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"setting up {ENVIRONMENT.name}: NAND's packages and its peers'", file=sys.stderr)
        packages = ["--constraint", CONSTRAINTS, "--requirement", PROJECT, "--requirement", PEERS]
        for command in (
            ["venv", "--allow-existing", "--python", sys.executable, ENVIRONMENT],
            ["pip", "install", "--python", python, *packages],
        ):
            subprocess.run([sys.executable, "-m", "uv", *command, "--quiet"], check=True)
        stamp.write_text(wanted)
    return python


def main() -> None:
    """Measure in the environment."""
    os.chdir(ROOT)
    python = environment()
    command = [str(python), "-m", "benchmarks.peers.measure", *sys.argv[1:]]
    os.execve(python, command, {**os.environ, "TQDM_DISABLE": "1"})  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
