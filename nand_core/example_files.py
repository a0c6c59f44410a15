"""The files of examples that the settings name: there, unchanged, and readable."""

from __future__ import annotations

from pathlib import Path

from nand_core.artifacts.store import sha256_file
from nand_core.datasets.images import read_image, read_mask
from nand_core.errors import NandError
from nand_core.prompts.settings import PromptSettings

MISSING = "{}: not there; 'dvc checkout' or 'dvc pull' brings it back, or remove the normality and add it again"
OTHER = "{}: has other content than it is named after; 'dvc checkout --force {}'"


def check_example_files(prompts: PromptSettings, folder: Path, bits: int | None) -> set[Path]:
    """The files of all examples below ``folder/<class>``.

    Args:
        bits: that count in 16-bit images.

    Raises:
        NandError: naming one that is missing, has other content than it is named after, or cannot be read.
    """
    held = prompts.normalities.items()
    named = {folder / name / file for name, entries in held for entry in entries for file in entry.files}
    for path in sorted(named):
        if not path.is_file():
            raise NandError(MISSING.format(path))
        if not sha256_file(path).startswith(path.name[:16]):
            raise NandError(OTHER.format(path, folder))
    for name, entries in held:
        for one in (one for entry in entries for one in (*entry.like, *entry.unlike)):
            size = read_image(folder / name / one.image, bits=bits).size
            if one.mask:
                read_mask(folder / name / one.mask, size)
    return named
