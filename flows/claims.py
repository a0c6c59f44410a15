"""What is claimed to be normal, as files: a normality's suppression maps and those of its rivals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.features import text_vectors
from flows.run import ARTIFACTS, Run
from nand_core.asked import Vector, competitors
from nand_core.config import Params
from nand_core.decision import Claimed
from nand_core.normalities import Normality, known_groups
from nand_core.settings import SuppressionSettings

SUPPRESSION, RIVALS, CONTROL = (ARTIFACTS / name for name in ("suppression", "rivals", "control"))
Vectors = Mapping[tuple[str, str, str], Vector]


@dataclass(frozen=True)
class MapsClaimed:
    """A claim by the content of its maps, and the file of each content."""

    claimed: Claimed
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Tried:
    """A normality without files of its own yet: its maps, and the feature of its text if it is asked."""

    maps: Path
    f_add: Vector | None


def rivals_count(params: Params) -> bool:
    """Whether texts compete for regions: there are regions, and the groups compete at all."""
    return params.evaluation.regions is not None and params.suppression.competing


def rivals_of(
    one: Normality, held: Collection[Normality], f_add: Vector | None, vectors: Vectors, settings: SuppressionSettings
) -> tuple[str, ...]:
    """The groups of a class that compete with a normality for regions: none that is normal as well.

    Args:
        held: everything that is normal for the class.
        f_add: the feature of its text; None where examples alone describe it, with which nothing competes.
    """
    if f_add is None:
        return ()
    name = one.class_name
    known = {group: vector for (of, group, kind), vector in vectors.items() if (of, kind) == (name, "known")}
    found = competitors(f_add, vectors[name, "", "nor"], known, settings, group=one.group, apart=one.apart)
    return tuple(sorted(set(found) - {other.group for other in held}))


def protocol_claims(run: Run, digest: Callable[[Path], str]) -> dict[str, dict[str, MapsClaimed]]:
    """Of every class with groups, what each group's text claims, and "" what the nonsense does."""
    on, found = rivals_count(run.params), {}
    for name, groups in known_groups(run.manifest).items():
        if groups:
            paths = {group: SUPPRESSION / name / f"{group}.npz" for group in groups} | {"": CONTROL / f"{name}.npz"}
            found[name] = {
                text: _claimed(path, name, [other for other in groups if on and other != text], digest)
                for text, path in paths.items()
            }
    return found


def held_claims(
    run: Run, held: Sequence[Normality], digest: Callable[[Path], str], tried: Mapping[str, Tried]
) -> list[MapsClaimed]:
    """What the normalities of one class claim, by content: which was added first has no effect."""
    vectors = text_vectors() if rivals_count(run.params) else None
    found = []
    for one in held:
        new = tried.get(one.name)
        path = new.maps if new else SUPPRESSION / one.class_name / f"{one.name}.npz"
        rivals: tuple[str, ...] = ()
        if vectors is not None:
            f_add = new.f_add if new else vectors.get((one.class_name, one.name, "add"))
            rivals = rivals_of(one, held, f_add if one.asked else None, vectors, run.params.suppression)
        found.append(_claimed(path, one.class_name, rivals, digest, one.strength))
    return sorted(found, key=lambda one: (one.claimed.suppression, one.claimed.rivals))


def merged(claims: Iterable[MapsClaimed]) -> dict[str, Path]:
    """The files of all of them."""
    return {content: path for one in claims for content, path in one.files.items()}


def _claimed(
    path: Path, name: str, rivals: Iterable[str], digest: Callable[[Path], str], strength: float = 1.0
) -> MapsClaimed:
    others = [RIVALS / name / f"{group}.npz" for group in rivals]
    files = {digest(one): one for one in (*others, path)}
    made = Claimed(suppression=digest(path), rivals=tuple(sorted(map(digest, others))), strength=strength)
    return MapsClaimed(made, files)
