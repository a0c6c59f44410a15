"""Images on the command line: several behind one ``--like`` or ``--unlike``, each with its box or mask behind it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperOption

from nand.cli.console import one_line
from nand.cli.place import InProject, typed
from nand_core.errors import NandError

if TYPE_CHECKING:
    from nand.project.examples import Given

LISTS = ("--like", "--unlike")
PLACES = ("--box", "--mask")


class WithImages(InProject):
    """A command with the options of LISTS and PLACES, which mean more by their order than typer can tell."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments as :func:`spread` writes them."""
        options = [one for one in self.params if isinstance(one, TyperOption) and not one.is_flag]
        with one_line():
            args = spread(args, {name for one in options for name in one.opts})
        return super().parse_args(ctx, args)


def spread(arguments: Sequence[str], valued: Collection[str]) -> list[str]:
    """``--like A B --box 1,2,3,4`` as ``--like=A --like=B --like=--box=1,2,3,4``.

    Args:
        arguments: those of the command.
        valued: its options that take a value.

    Raises
    ------
    NandError
        For an option without its value, a box or mask without an image, and images without a name for what they show.
    """
    made: list[str] = []
    rest, plain, taking, image = list(arguments), 0, "", ""
    while rest and rest[0] != "--":
        one = rest.pop(0)
        name, equals, value = one.partition("=")
        if name in LISTS or name in PLACES:
            if not equals:
                value = _value(name, rest)
            if name != "--box":
                value = str(typed(value))
            if name in LISTS:
                taking = image = name
                made.append(f"{name}={value}")
            elif image:
                made.append(f"{image}={name}={value}")
            else:
                raise NandError(f"{name} {value}: no image before it; put it behind the image that it belongs to")
        elif one.startswith("-") and one != "-":
            taking = ""
            made.append(one)
            if one in valued:
                made += rest[:1]
                del rest[:1]
        elif taking:
            made.append(f"{taking}={one}")
        else:
            plain += 1
            made.append(one)
    if image and plain + len(rest[1:]) < 2 and "--help" not in arguments:
        raise NandError(f"no name for what they show; put it before the images: nand add CLASS NAME {image} IMAGE ...")
    return [*made, *rest]


def _value(option: str, rest: list[str]) -> str:
    wanted = {"--box": "X,Y,W,H in pixels", "--mask": "the mask's file"}.get(option, "one or more images")
    if not rest or rest[0].startswith("--") or (option in LISTS and rest[0].startswith("-")):
        raise NandError(f"{option}: names nothing; write {wanted} behind it")
    return rest.pop(0)


def given(values: Sequence[str] | None) -> tuple[Given, ...]:
    """The images of one list, as :func:`spread` leaves them, with their boxes and masks.

    Raises
    ------
    NandError
        For a second box or mask.
    """
    from nand.project.examples import Given

    found: list[Given] = []
    for value in values or ():
        place, _, said = value.partition("=")
        if place not in PLACES:
            found.append(Given(Path(value)))
            continue
        last = found[-1]
        if last.box is not None or last.mask is not None:
            raise NandError(f"{last.path}: has more than one box or mask; give one")
        found[-1] = replace(last, box=said) if place == "--box" else replace(last, mask=Path(said))
    return tuple(found)
