"""Rounds over the inbox until nothing complete is left in it.

A batch: take images out of the inbox, judge them, write their overlays, write their rows as one part, and only then
move them on. The next batch of a class begins after that, so whatever a killed inspection leaves among the taken
images either has its row in the class's newest part or has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from PIL import Image

from flows.inbox.arrival import Arrival, identify, read
from flows.inbox.folder import Folder
from flows.inbox.judge import Judge, Verdict
from flows.inbox.overlay import overlay
from flows.inbox.rows import flush, flushed, newest_ids, write_part
from nand_core.errors import printable

PIXELS = 2**26
"""Of a batch, beyond which it takes no more images: they are all decoded at once."""


@dataclass
class Batch:
    """What came of one batch."""

    class_name: str
    rows: int = 0
    alarms: int = 0
    again: int = 0
    refused: list[Arrival] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.again or self.refused)


@dataclass
class Rounds:
    """One inspection of a folder, which nobody else works in meanwhile.

    Attributes:
        judge_of: the judge of a class, made when it has an image.
        settle: seconds without a write after which a file counts as complete.
        most: images of a batch.
        quality: WebP quality of the overlays.
        commit: noted in every row.
    """

    folder: Folder
    classes: Collection[str]
    judge_of: Callable[[str], Judge]
    settle: float = 5.0
    most: int = 32
    quality: int = 72
    commit: str = ""
    bits: int | None = None

    def __iter__(self) -> Iterator[Batch]:
        """Inspect; yields after every batch, with all files in their places."""
        for name in self.classes:
            self._finish_moves(name)
        moved = True
        while moved:
            moved = False
            queues = {name: deque(self._queue(name)) for name in self.classes}
            while queues := {name: queue for name, queue in queues.items() if queue}:
                for name, queue in queues.items():  # in turn: a class's backlog keeps no other waiting
                    if batch := self._batch(name, self.judge_of(name), queue):
                        moved = True
                        yield batch

    def _finish_moves(self, class_name: str) -> None:
        """Move on what a killed inspection wrote the rows of and had not moved yet."""
        names = self.folder.taken(class_name)
        ids = newest_ids(self.folder.root / "rows" / class_name) if names else set()
        for name in names:
            found = identify(self.folder.root / "taken" / class_name / name, class_name)
            if found in ids:
                self.folder.finish(class_name, Arrival(name, found, ""))

    def _queue(self, class_name: str) -> list[str]:
        return [*self.folder.taken(class_name), *self.folder.arrivals(class_name, self.settle)]

    def _batch(self, class_name: str, judge: Judge, queue: deque[str]) -> Batch:
        batch = Batch(class_name)
        arrivals = self._take(batch, queue)
        judged = self._judge(batch, judge, arrivals)
        if judged:
            rows = [self._row(class_name, judge, *one) for one in judged]
            flush(self.folder.root / "overlays" / class_name)
            write_part(self.folder.root / "rows" / class_name, rows)
            for arrival, _ in judged:
                self.folder.finish(class_name, arrival)
            batch.rows, batch.alarms = len(rows), sum(row["alarm_after"] for row in rows)
        return batch

    def _take(self, batch: Batch, queue: deque[str]) -> list[Arrival]:
        """The next readable images of a queue."""
        arrivals: list[Arrival] = []
        pixels = 0
        while queue and len(arrivals) < self.most and pixels < PIXELS:
            if any(queue[0] == one.name for one in arrivals):
                break  # taken before and dropped again: its turn comes after
            path = self.folder.take(batch.class_name, queue.popleft())
            # Looked at again, now that nobody can put another file in its place.
            if path is None or not self.folder.is_complete(path, self.settle):
                continue
            arrival = read(path, batch.class_name, self.bits)
            if arrival is None:
                continue
            if arrival.image is None:
                self._refuse(batch, arrival)
            elif self.folder.is_done(batch.class_name, arrival):
                self.folder.finish(batch.class_name, arrival)
                batch.again += 1
            else:
                arrivals.append(arrival)
                pixels += arrival.image.width * arrival.image.height
        return arrivals

    def _judge(self, batch: Batch, judge: Judge, arrivals: list[Arrival]) -> list[tuple[Arrival, Verdict]]:
        """Verdicts; an image that cannot be judged though others can is refused."""
        if not arrivals:
            return []
        try:
            verdicts = judge([one.id for one in arrivals], [one.picture for one in arrivals])
            return list(zip(arrivals, verdicts, strict=True))
        except Exception:
            judge(["plain grey"], [Image.new("RGB", (64, 64), "grey")])  # raises unless an image is the cause
        judged: list[tuple[Arrival, Verdict]] = []
        for one in arrivals:
            try:
                judged += zip([one], judge([one.id], [one.picture]), strict=True)
            except Exception as error:
                reason = printable(f"{one.name}: cannot be judged ({error or type(error).__name__})")
                self._refuse(batch, Arrival(one.name, one.id, one.sha256, None, f"{reason}; check the image"))
        return judged

    def _refuse(self, batch: Batch, arrival: Arrival) -> None:
        self.folder.refuse(batch.class_name, arrival)
        batch.refused.append(arrival)

    def _row(self, class_name: str, judge: Judge, arrival: Arrival, verdict: Verdict) -> dict[str, Any]:
        """The image's row, its overlay written."""
        path = self.folder.root / "overlays" / class_name / f"{arrival.id}.webp"
        with flushed(path) as temporary:
            overlay(arrival.picture, verdict.adapted, judge.threshold_after).save(temporary, quality=self.quality)
        return {
            "class": class_name,
            "name": arrival.name,
            "id": arrival.id,
            "sha256": arrival.sha256,
            "time": datetime.now(UTC),
            "detector": judge.name,
            "score_before": verdict.score_before,
            "score_after": verdict.score_after,
            "threshold_before": judge.threshold_before,
            "threshold_after": judge.threshold_after,
            "alarm_before": verdict.score_before > judge.threshold_before,
            "alarm_after": verdict.score_after > judge.threshold_after,
            "normalities": [one.text for one in judge.normalities],
            "commit": self.commit,
            "overlay": path.relative_to(self.folder.root).as_posix(),
        }
