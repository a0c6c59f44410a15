"""Work that goes on only when somebody agrees."""

from __future__ import annotations

STATUS = 3
"""Exit status of a program that stopped before it changed anything, because nobody had agreed to what it would do."""
