"""Work that goes on only when somebody agrees."""

from __future__ import annotations

from nand_core.errors import NandError

STATUS = 3
"""Exit status of a program that stopped before it changed anything, because nobody had agreed to what it would do."""


class ConsentNeeded(NandError):
    """What was asked for costs more than the settings allow without being asked; nothing has changed."""
