"""The cache: what it holds, and what of it may go."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nand.cli.console import console, one_line
from nand.cli.place import InProject
from nand.project.place import STATE, require_project
from nand_core.errors import NandError

if TYPE_CHECKING:
    from nand_core.artifacts.store import Store
    from nand_core.artifacts.usage import Usage

app = typer.Typer(no_args_is_help=True, help=__doc__)
DAY = 86400.0
OUTCOMES = {
    "mended": "fetched again",
    "removed": "removed: it is computed again when it is needed",
    "replaced": "replaced by a run meanwhile",
    "unreadable": "cannot be read, and stays: correct its rights",
}


@app.command(cls=InProject)
def info() -> None:
    """What the cache holds, task by task."""
    from nand_core.artifacts.usage import survey

    with one_line():
        store = _store()
        show(store, survey(store))


def _store() -> Store:
    """The project's store, or the one that NAND_STORE names: that can be looked after from anywhere."""
    from nand_core.artifacts.remote import VARIABLE, open_store

    if not os.environ.get(VARIABLE):
        require_project()
    return open_store(STATE)


def show(store: Store, usage: Usage) -> None:
    """Print a table of the items by task, and what is of no use."""
    from rich.filesize import decimal
    from rich.table import Table

    from nand_core.artifacts.remote import SharedStore
    from nand_core.artifacts.usage import task_of

    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0])
    for one in usage.held:
        for key in one.keys:
            rows[task_of(key)][0] += 1
        row = rows[task_of(one.keys[0])]
        row[1] += 1
        row[2] += one.size
        row[3] = max(row[3], one.used)
    table = Table(title=str(store.root), show_footer=True)
    footers = ("all", str(sum(int(row[0]) for row in rows.values())), str(len(usage.held)), decimal(usage.size), "")
    for name, footer in zip(("task", "records", "objects", "size", "last used"), footers, strict=True):
        table.add_column(name, footer, justify="left" if name == "task" else "right")
    for name, (records, objects, size, used) in sorted(rows.items()):
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(used)) if used else ""
        table.add_row(name, str(records), str(objects), decimal(int(size)), day)
    console().print(table)
    for paths, what in (
        (usage.orphans, "objects without a record"),
        (usage.broken, "records without an object"),
        (usage.temporary, "unfinished files"),
    ):
        if paths:
            print(f"{len(paths)} {what}, {decimal(_size(paths))}: of no use, 'nand cache prune' removes them")
    if isinstance(store, SharedStore):
        print(f"shared behind {store.url}, which is not counted and not pruned")


def _size(paths: tuple[Path, ...]) -> int:
    return sum(path.stat().st_size for path in paths if path.exists())


@app.command(cls=InProject)
def verify() -> None:
    """Read all of the cache and compare it with its digests; mend or remove what is damaged.

    What the second level of NAND_STORE has is fetched again, the rest is removed and computed again when it is needed.
    Runs may go on meanwhile. Status 1 where something could not be mended.
    """
    from rich.filesize import decimal
    from tqdm import tqdm

    from nand_core.artifacts.usage import task_of
    from nand_core.artifacts.verify import verify as check_store

    with one_line():
        store = _store()
        if not store.root.exists():
            print(f"{store.root}: nothing there")
            return
        hold = store.hold(wait=False)
        if hold is None:
            raise NandError(f"{store.root}: is being pruned; verify again when that has ended")
        bar = tqdm(desc="verify", unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty())
        with hold, bar:

            def told(read: int, total: int) -> None:
                bar.total = total
                bar.update(read - bar.n)

            found = check_store(store, told)
        for one in found.damaged:
            tasks = ", ".join(sorted({task_of(key) for key in one.keys})) or "of no record"
            print(f"{one.path} ({tasks}): damaged, {OUTCOMES[one.outcome]}")
        print(
            f"{store.root}: {found.objects} objects ({decimal(found.size)}) read, "
            f"{len(found.damaged) or 'none'} damaged"
        )
    if any(one.outcome in ("removed", "unreadable") for one in found.damaged):
        raise typer.Exit(1)


@app.command(cls=InProject)
def prune(
    keep_current: Annotated[bool, typer.Option(help="Keep what the current results need.")] = False,
    older_than: Annotated[
        float | None, typer.Option(min=0, max=36500, metavar="DAYS", help="Remove what was not used for so many days.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Remove the least recently used down to a size, such as 10GB.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False,
) -> None:
    """Remove items from the cache; what is needed again later is computed again.

    With --keep-current alone everything but what the current results need goes. Beside the other options it
    keeps that from them. Nothing is removed while a run uses the cache.
    """
    from rich.filesize import decimal

    from nand.project.stages import declared_stages
    from nand_core.artifacts.remote import VARIABLE
    from nand_core.artifacts.usage import current_keys, parse_size, remove, superfluous, survey

    with one_line():
        if not (keep_current or older_than is not None or max_size is not None):
            raise NandError("say what may go: --keep-current, --older-than DAYS or --max-size SIZE")
        store = _store()
        shared = not store.root.is_relative_to(STATE)
        if shared and older_than is None and max_size is None:
            raise NandError(
                f"{VARIABLE}: {store.root} may serve other checkouts, whose results --keep-current does not know; "
                "add --older-than DAYS or --max-size SIZE"
            )
        keep = current_keys(STATE / "used", declared_stages()) if keep_current else set()
        before = None if older_than is None else time.time() - older_than * DAY
        limit = None if max_size is None else parse_size(max_size)
        if not store.root.exists():
            print(f"{store.root}: nothing there")
            return
        hold = store.hold(alone=True, wait=False)
        if hold is None:
            raise NandError(f"{store.root}: a run is using the cache; prune again when it has ended")
        with hold:
            usage = survey(store)
            gone = superfluous(usage, keep, before, limit)
            if not dry_run:
                remove(store, usage, gone)
        useless = (*usage.orphans, *usage.broken, *usage.temporary)
        freed = sum(one.size for one in gone)
        print(
            f"{store.root}: {'would remove' if dry_run else 'removed'} {len(gone)} objects ({decimal(freed)}) "
            f"and {len(useless)} files of no use; {len(usage.held) - len(gone)} objects "
            f"({decimal(usage.size - freed)}) stay"
        )
