"""Two ways to the same result, timed in turn."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class Size:
    """How large a benchmark's data are, and how long its pairs may be timed.

    Attributes:
        quick: small data, which show that a row works and nothing else.
        seconds: of the timed rounds of a pair, about; there are at least two rounds.
        threads: of everything that is timed.
    """

    quick: bool = False
    seconds: float = 8.0
    threads: int = 2

    def of(self, full: int, quick: int) -> int:
        """One of two numbers."""
        return quick if self.quick else full


def give_memory_back() -> None:
    """Have this process give back at once what it no longer holds, in small pages.

    What glibc keeps of it instead hangs on all that the heap has seen before: a peak of memory, or the time of many
    large blocks, is not the same twice.
    """
    library, mmap_threshold, disable_huge_pages = ctypes.CDLL(None), -3, 41
    library.mallopt(mmap_threshold, 1 << 20)
    library.prctl(disable_huge_pages, 1, 0, 0, 0)


def seconds(run: Callable[[], Any]) -> float:
    """What a call takes, in milliseconds."""
    begun = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - begun)


@dataclass(frozen=True)
class Pair:
    """Ours and another's.

    Attributes:
        name, against: what is done, and by whom else.
        check: is given both results, raises AssertionError where they differ, and says how equal they are.
        aim: most that ours over theirs may be; None: it is only shown.
        figure: what is compared of a call: by default its time.
        unit: of the figure.
        rounds: fixed number of rounds; None: as many as ``Size.seconds`` has room for.
        profile: ours, where it is timed in another process; None: ``ours`` is looked at.
    """

    name: str
    against: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    check: Callable[[Any, Any], str]
    aim: float | None = None
    figure: Callable[[Callable[[], Any]], float] = seconds
    unit: str = "ms"
    rounds: int | None = None
    profile: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Measured:
    """A pair's figures, round by round.

    Attributes:
        equal: how equal the results are.
        where: where our time goes, if an aim for it is missed.
    """

    pair: Pair
    equal: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    where: str = ""

    @property
    def least(self) -> float:
        """Ours over theirs, of the smallest figures."""
        return min(self.ours) / min(self.theirs)

    @property
    def middle(self) -> float:
        """Ours over theirs, the median over the rounds."""
        return median(one / other for one, other in zip(self.ours, self.theirs, strict=True))

    @property
    def met(self) -> bool | None:
        """Whether the aim is; None without one."""
        return None if self.pair.aim is None else self.middle <= self.pair.aim


Rows = Callable[[Size], Iterator[Pair]]
"""What a module of ``benchmarks.peers.rows`` has as ``pairs``: a few pairs, made one after the other."""


def measured(pair: Pair, size: Size) -> Measured:
    """Check a pair's results, which warms both up, then take their figures in turn.

    Raises:
        AssertionError: the results differ.
    """
    begun = time.perf_counter()
    equal = pair.check(pair.ours(), pair.theirs())
    once = time.perf_counter() - begun
    rounds = pair.rounds or (2 if size.quick else int(np.clip(size.seconds / once, 2, 50)))
    found = Measured(pair, equal)
    for number in range(rounds):
        sides = [(found.ours, pair.ours), (found.theirs, pair.theirs)]
        for figures, run in sides if number % 2 == 0 else reversed(sides):
            figures.append(pair.figure(run))
    looked_at = pair.profile or (pair.ours if pair.figure is seconds else None)
    if found.met is False and looked_at is not None:
        found = replace(found, where=profiled(looked_at))
    return found


def profiled(run: Callable[[], Any], most: int = 5) -> str:
    """The operators of torch that a call spends most of its time in, themselves, in percent of its time."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        whole = 1000 * seconds(run)
    own = sorted(((one.self_cpu_time_total, one.key) for one in found.key_averages()), reverse=True)
    named = [f"{name.removeprefix('aten::')} {100 * time / whole:.0f} %" for time, name in own[:most]]
    return ", ".join([*named, f"outside of operators {100 * max(0.0, 1 - sum(t for t, _ in own) / whole):.0f} %"])


def described(figures: Sequence[float]) -> str:
    """Minimum, median and 95th percentile."""
    return " / ".join(f"{one:.3g}" for one in (min(figures), median(figures), float(np.percentile(figures, 95))))
