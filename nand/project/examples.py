"""Images given as examples of a normality: what is refused, how the settings name them, and where their files go."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nand.project.place import PARAMS, STATE
from nand_core.artifacts.disk import replacing
from nand_core.artifacts.store import sha256_file
from nand_core.datasets.layout import EXTENSIONS
from nand_core.errors import NandError

if TYPE_CHECKING:
    import pandas as pd

    from nand_core.config import Params
    from nand_core.prompts.settings import Example

EXAMPLES = Path("artifacts/examples")
MANIFEST = Path("artifacts/manifest.parquet")
DIGITS, LONGEST = 16, 80
BEFORE = STATE / "examples_before"

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Given:
    """An image as somebody named it, with ``X,Y,W,H`` or a mask's file where its place was said."""

    path: Path
    box: str | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Examples:
    """The images given for one normality; ``from_test`` allows those of the test set."""

    like: Sequence[Given] = ()
    unlike: Sequence[Given] = ()
    from_test: bool = False


@dataclass
class Checked:
    """What was given, as the settings name it.

    Attributes:
        like, unlike: the entries.
        files: from where each file in ``artifacts/examples`` is copied.
        tests: how many of the images are test images.
    """

    like: tuple[Example, ...] = ()
    unlike: tuple[Example, ...] = ()
    files: dict[Path, Path] = field(default_factory=dict)
    tests: int = 0


def check(params: Params, class_name: str, given: Examples) -> Checked:
    """The examples of ``class_name`` as the settings name them; nothing is written.

    What the data set says about them is checked where its manifest is there.

    Raises
    ------
    NandError
        For an image, box or mask that is no use, in one line that names it.
    """
    count, most = len(given.like) + len(given.unlike), params.suppression.examples.images
    if count > most:
        raise NandError(f"{count} examples, but suppression.examples.images allows {most}; leave some out or raise it")
    if not count:
        return Checked()
    known = _Known(class_name, Path(params.dataset.root), _manifest(), given.from_test, params.dataset.bits)
    found, seen = Checked(), dict[str, Path]()
    found.like = tuple(_example(one, known, found, seen) for one in given.like)
    found.unlike = tuple(_example(one, known, found, seen) for one in given.unlike)
    return found


def _example(one: Given, known: _Known, found: Checked, seen: dict[str, Path]) -> Example:
    from nand_core.datasets.images import read_image
    from nand_core.prompts.settings import Example

    if one.box is not None and one.mask is not None:
        raise NandError(f"{one.path}: has a box and a mask; give one of them")
    size = read_image(one.path, bits=known.bits).size
    sha256 = sha256_file(one.path)
    if sha256 in seen:
        raise NandError(f"{one.path}: is the same image as {seen[sha256]}; give it once")
    seen[sha256] = one.path
    found.tests += known.check(one.path, sha256, size)
    box = None if one.box is None else _box(one.path, one.box, size)
    mask = None if one.mask is None else _masked(one.mask, size)
    image = _named(one.path, sha256)
    found.files[EXAMPLES / known.class_name / image] = one.path
    if mask and one.mask:
        found.files[EXAMPLES / known.class_name / mask] = one.mask
    return Example(image=image, box=box, mask=mask)


def _named(path: Path, sha256: str) -> str:
    """The name of the copy; that of a copy stays as it is."""
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        raise NandError(f"{path}: its name does not end in {', '.join(sorted(EXTENSIONS))}; rename it")
    digits = sha256[:DIGITS]
    stem = re.sub("[^A-Za-z0-9._-]+", "_", path.stem.removeprefix(f"{digits}-"))[:LONGEST]
    return f"{digits}-{stem}{suffix}" if stem and stem != digits else f"{digits}{suffix}"


def _box(path: Path, said: str, size: Size) -> tuple[int, int, int, int]:
    if not re.fullmatch(r"\d{1,6}(,\d{1,6}){3}", said, re.ASCII):
        raise NandError(f"{path}: --box {said}: write X,Y,W,H in whole pixels, such as --box 10,20,30,40")
    x, y, width, height = map(int, said.split(","))
    if not width or not height:
        raise NandError(f"{path}: --box {said}: is empty; its width and height have to be 1 or more")
    if x + width > size[0] or y + height > size[1]:
        raise NandError(f"{path}: --box {said}: leaves the image ({size[0]} x {size[1]} pixels); X,Y,W,H is expected")
    return x, y, width, height


def _masked(path: Path, size: Size) -> str:
    from nand_core.datasets.images import mask_fault, read_mask

    if not read_mask(path, size).any():
        why = mask_fault(path, size)
        raise NandError(f"{path}: marks nothing ({why}); paint what is meant white, or leave the mask out")
    return _named(path, sha256_file(path))


def _manifest() -> pd.DataFrame | None:
    """The data set's images; None before a first run."""
    import pandas as pd

    try:
        return pd.read_parquet(MANIFEST)
    except (OSError, ValueError):  # half-written: it is made again before anything else is done
        return None


@dataclass(frozen=True)
class _Known:
    """What the data set knows about images that are given for one of its classes."""

    class_name: str
    root: Path
    manifest: pd.DataFrame | None
    from_test: bool
    set_bits: int | None = None

    @property
    def bits(self) -> int | None:
        """How many count in 16-bit images."""
        from nand_core.datasets.manifest import deep_bits

        return (None if self.manifest is None else deep_bits(self.manifest)) or self.set_bits

    def check(self, path: Path, sha256: str, size: Size) -> bool:
        """Whether the image is one of the class's test images; refused if it cannot be an example."""
        if self.manifest is None:
            return False
        same = self.manifest[self.manifest["sha256"] == sha256]
        # The manifest can be older than the files; only what still holds is a reason to refuse.
        rows = [row for row in same.to_dict("records") if self._is(str(row["path"]), sha256)]
        own = [row for row in rows if row["class"] == self.class_name]
        if rows and not own:
            name = rows[0]["class"]
            raise NandError(f"{path}: is an image of another class, {name!r} ({rows[0]['path']}); leave it out")
        if train := next((row["path"] for row in own if row["split"] == "train"), None):
            raise NandError(
                f"{path}: is normal already, one of the good training images of {self.class_name!r} ({train}); "
                "leave it out"
            )
        if own and not self.from_test:
            raise NandError(
                f"{path}: is in the test set ({own[0]['path']}); with --from-test it is used, and left out of what is "
                "counted"
            )
        mine = self.manifest[self.manifest["class"] == self.class_name]
        sizes = set(zip(mine["width"].tolist(), mine["height"].tolist(), strict=True))
        if len(sizes) == 1 and size not in sizes:
            ((width, height),) = sizes
            raise NandError(
                f"{path}: is {size[0]} x {size[1]} pixels, but every image of {self.class_name!r} is "
                f"{width} x {height}; give one that was taken as they were"
            )
        return bool(own)

    def _is(self, path: str, sha256: str) -> bool:
        file = self.root / path
        return file.is_file() and sha256_file(file) == sha256


@contextmanager
def placed(files: Mapping[Path, Path]) -> Iterator[None]:
    """Copy ``files`` (target: source) to their places for a run that takes the examples' other files away.

    If the block fails, the folder has again what params.yaml names, and nothing that was copied for this run alone.

    Raises
    ------
    NandError
        When a source has other content than it had when it was checked.
    """
    shutil.rmtree(BEFORE, ignore_errors=True)
    if EXAMPLES.is_dir():
        shutil.copytree(EXAMPLES, BEFORE, copy_function=_link)
    try:
        for target, source in files.items():
            copy_checked(source, target)
        yield
    except BaseException:
        _restore(files)
        raise
    finally:
        shutil.rmtree(BEFORE, ignore_errors=True)


def copy_checked(source: Path, target: Path) -> None:
    """Copy a file to a name that begins with its content's digest, unless it is there already.

    Raises
    ------
    NandError
        When the file is gone, or has other content than it had when it was checked.
    """
    if target.is_file() and sha256_file(target).startswith(target.name[:DIGITS]):
        return
    with replacing(target) as temporary:
        try:
            shutil.copyfile(source, temporary)
        except FileNotFoundError:
            raise NandError(f"{source}: is gone since it was checked; start again") from None
        if not sha256_file(temporary).startswith(target.name[:DIGITS]):
            raise NandError(f"{source}: was changed since it was checked; start again")


def _restore(files: Mapping[Path, Path]) -> None:
    settings = PARAMS.read_text(encoding="utf-8")
    for path in files:
        if path.name not in settings and not (BEFORE / path.relative_to(EXAMPLES)).exists():
            path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    for kept in BEFORE.rglob("*"):
        path = EXAMPLES / kept.relative_to(BEFORE)
        if kept.is_file() and not path.exists() and kept.name in settings:
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(str(kept), str(path))


def _link(source: str, target: str) -> None:
    """The same file under another name; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
