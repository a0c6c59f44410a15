"""What the page's answers share: the project as it stands, the change at work, and where images are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

from nand.page.draft import UNNAMED, Draft, Pointed, planned
from nand.page.inbox import line_image
from nand.page.jobs import Jobs
from nand.page.preview import Preview, Progress, preview
from nand.page.sent import sent_image
from nand.page.snapshot import Current, Snapshot, View
from nand.project.place import STATE
from nand_core.errors import NandError
from nand_core.prompts.provide import choose_provider, with_phrases

EXAMPLES = STATE / "page" / "examples"
MOST = 300
"""Copies of examples that are kept; of more the oldest go."""


@dataclass
class Server:
    """One project.

    Attributes:
        inbox: the folder of ``inspect``.
        now: the project as it stands.
        jobs: changes of it.
    """

    inbox: Path = Path("inspection")
    now: Current = field(default_factory=Current)
    jobs: Jobs = field(default_factory=Jobs)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(os.cpu_count() or 1, "look"))
    _one: Lock = field(default_factory=Lock)

    def snapshot(self) -> Snapshot:
        """The project as it stands; loaded by one, whoever else asks meanwhile."""
        with self._one:
            return self.now()

    def view(self, class_name: str) -> View:
        """A class of it."""
        with self._one:
            return self.now().view(class_name)

    def find(self, class_name: str, one: Pointed) -> Path:
        """The file of an image that somebody points at.

        Raises:
            NandError: there is none.
        """
        if one.source == "line":
            self.view(class_name)  # the name of a folder comes from the data set alone
            return line_image(self.inbox, class_name, one.key)
        if one.source == "sent":
            return sent_image(one.key)
        view = self.view(class_name)
        if one.key not in view.number:
            raise NandError(f"no test image of {class_name!r} is called {one.key}")
        return view.run.work.root / view.ids[view.number[one.key]]

    def look(self, draft: Draft, detector: str, live: bool) -> Iterator[Progress | Preview]:
        """What a draft would change (``nand.page.preview``).

        Args:
            detector: that somebody looks at.
            live: while somebody types: no other program is asked for phrases.

        Raises:
            NandError: it cannot be a normality, or somebody has to press the button for it.
        """
        view = self.view(draft.class_name)
        how = {"examples": draft.examples(self.find), "ask": draft.ask, "strength": draft.strength}
        plan = planned(draft.class_name, draft.text.strip() or UNNAMED, draft.phrases, **how)
        change = plan(view.params, view.snapshot.groups)
        one = change.normality
        if live and one.asked and one.apart:
            settings = with_phrases(view.params.prompts, one.class_name, one.text, one.phrases)
            if choose_provider(one.class_name, one.text, settings) == "openai":
                raise NandError("another program writes the phrases here: press “Show what changes”")
        yield from preview(view, change, draft.ask, EXAMPLES, self.pool, detector)
        _tidy(EXAMPLES)

    def prepare(self, class_name: str) -> None:
        """Get ready for the first question about a class, beside whatever else is asked."""

        def ready() -> None:
            with suppress(NandError, OSError):  # whoever asks is told
                self.view(class_name).prepare()

        Thread(target=ready, daemon=True).start()

    def close(self) -> None:
        """End what is at work."""
        self.jobs.close()
        self.pool.shutdown(cancel_futures=True)


def _tidy(folder: Path) -> None:
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime)
    for path in files[:-MOST]:
        path.unlink(missing_ok=True)
