"""Importing much at once."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterable
from contextlib import suppress


def load(modules: Iterable[str]) -> None:
    """Import modules, faster than usual: nothing that they make is garbage, and a fork need not copy it.

    What fails is left to whoever uses it.
    """
    gc.disable()
    for name in modules:
        with suppress(Exception):
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
