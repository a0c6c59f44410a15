"""What is said in one line instead of a traceback."""

from __future__ import annotations

from nand_core.errors import NandError, printable

MADE = ("artifacts/", "results/")
"""Where the stages put what they make."""


def in_one_line(error: BaseException | None) -> str:
    """The user's mistake in one line: a NandError, a file that no stage has made yet, or one that the system refuses
    (its name is too long, it may not be read); "" for any other error.
    """
    if isinstance(error, FileNotFoundError):
        path = str(error.filename or next(iter(error.args), ""))  # pandas gives the name alone
        return f"{path}: not there yet; 'nand repro' runs the stages that make it" if path.startswith(MADE) else ""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{printable(error.filename)}: {error.strerror}; correct its name or its rights"
    return " ".join(str(error).split()) if isinstance(error, NandError) else ""
