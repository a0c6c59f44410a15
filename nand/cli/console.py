"""What commands share: the console, and a mistake as one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from flows.mistakes import in_one_line
from nand_core.errors import NandError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@contextmanager
def one_line() -> Iterator[None]:
    """A user's mistake as one line on stderr and exit status 1."""
    try:
        yield
    except (NandError, OSError) as error:
        if not (mistake := in_one_line(error)):
            raise
        print(f"error: {mistake}", file=sys.stderr)
        raise typer.Exit(1) from error


def console(*, width: int | None = None, markup: bool = True) -> Console:
    """What tables are printed on; loaded with the first of them."""
    from rich.console import Console

    return Console(width=width, markup=markup)


def table_of(*columns: str, left: int = 1, **options: Any) -> Table:
    """A table whose first ``left`` columns are names and whose others are figures."""
    from rich.table import Table

    table = Table(**options)
    for position, name in enumerate(columns):
        table.add_column(name, justify="left" if position < left else "right")
    return table
