"""The commands that change what is normal: ``nand add``, ``try``, ``remove``, ``list``, and ``nand prompts export``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nand.cli.console import console, one_line, table_of
from nand.cli.examples import given
from nand.cli.place import InProject
from nand.project.place import PARAMS, require_project
from nand_core.errors import NandError

if TYPE_CHECKING:
    from nand.project.change import Change, Effect, Groups
    from nand.project.examples import Examples
    from nand_core.config import Params
    from nand_core.normalities import Normality

prompts = typer.Typer(no_args_is_help=True, help="The phrases that describe what is normal.")
PROMPTS = Path("artifacts/prompts")
SUPPRESSION = Path("artifacts/suppression")
AUROC, OPERATING = Path("results/auroc.parquet"), Path("results/operating.parquet")
GENERATED = ("openai", "rules")

ClassName = Annotated[str, typer.Argument(metavar="CLASS")]
Words = Annotated[
    list[str],
    typer.Argument(metavar="TEXT", help="Quoted, such as 'loose fibre'; or the name of a labelled group."),
]


Like = Annotated[
    list[str] | None,
    typer.Option(metavar="IMAGE...", help="Images that show it; TEXT is then a name for it, and not asked about."),
]
Unlike = Annotated[
    list[str] | None,
    typer.Option(metavar="IMAGE...", help="Images that look like it and have to keep raising an alarm."),
]
Box = Annotated[  # for the help: WithImages moves it to its image
    str | None,
    typer.Option(metavar="X,Y,W,H", help="Where in the image before it, in pixels; else what no good image shows."),
]
Mask = Annotated[  # the same
    str | None, typer.Option(metavar="FILE", help="In place of a box: an image that is white there, else black.")
]
Phrases = Annotated[
    list[str] | None, typer.Option(help="A phrase for it in place of generated ones; may be given several times.")
]
Ask = Annotated[bool, typer.Option("--ask", help="With images: ask about TEXT as well.")]
Force = Annotated[
    bool, typer.Option("--force", help="Take TEXT even if the text encoder knows none of its words.")
]
Strength = Annotated[
    float, typer.Option(help="How far what it claims falls to the good images' level; 0.5: half of the way.")
]
FromTest = Annotated[
    bool, typer.Option("--from-test", help="Allow images of the test set; they are left out of what is counted.")
]


def add(
    class_name: ClassName,
    text: Words,
    *,
    like: Like = None,
    unlike: Unlike = None,
    box: Box = None,
    mask: Mask = None,
    phrase: Phrases = None,
    ask: Ask = False,
    force: Force = False,
    strength: Strength = 1.0,
    from_test: FromTest = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, even if other defects lose their alarm.")] = False,
) -> None:
    """Make TEXT, or what images show, normal for CLASS from now on, and show what that does to every test image.

    Where other defects would lose their alarm it asks first. It stands in params.yaml once all is computed: a run that
    fails or is stopped, and a question answered with no, leave the file as it was.

    For example: nand add carpet "fuzz ok" --like a.jpg b.jpg --box 10,20,30,40 --unlike c.jpg
    """
    examples = _examples(like, unlike, from_test)
    flags = {"ask": ask, "force": force, "strength": strength}
    plan = _addition(_quoted("add", class_name, text), class_name, examples, phrase, **flags)
    _change(class_name, plan, None if yes else _agree)


def look(
    class_name: ClassName,
    text: Words,
    *,
    like: Like = None,
    unlike: Unlike = None,
    box: Box = None,
    mask: Mask = None,
    phrase: Phrases = None,
    ask: Ask = False,
    force: Force = False,
    strength: Strength = 1.0,
    from_test: FromTest = False,
) -> None:
    """Show what 'nand add' with the same words would do to every test image; nothing is changed."""
    from nand.project.change import TRIAL
    from nand.project.change import look as trial

    examples = _examples(like, unlike, from_test)
    flags = {"ask": ask, "force": force, "strength": strength}
    plan = _addition(_quoted("try", class_name, text), class_name, examples, phrase, **flags)
    with _carried_out():
        change, effect = trial(class_name, plan)
    print(f"{class_name}: if {change.normality.text!r} were normal (nothing is changed):")
    _show(change, effect)
    said = " ".join(shlex.quote(word) for word in sys.argv[2:])
    print(f"pictures: {TRIAL / 'index.html'}    to make it so: nand add {said}")


def _examples(like: list[str] | None, unlike: list[str] | None, from_test: bool) -> Examples:
    from nand.project.examples import Examples

    with one_line():
        return Examples(given(like), given(unlike), from_test)


def _addition(
    text: str, class_name: str, examples: Examples, phrases: list[str] | None, **flags: Any
) -> Callable[[Params, Groups], Change]:
    def plan(params: Params, groups: Groups) -> Change:
        from nand.project.plans import addition

        return addition(params, groups, class_name, text, phrases or (), examples=examples, **flags)

    return plan


def _agree(change: Change, effect: Effect) -> bool:
    """Ask whether what is lost is meant; without a terminal nobody is there to answer."""
    text = change.normality.text
    if not sys.stdin.isatty():
        print(
            f"not added: {text!r} would cost other defects their alarm, see above, and there is no terminal to ask; "
            "if that is meant, add --yes",
            file=sys.stderr,
        )
        return False
    return typer.confirm(f"Other defects lose their alarm, see above. Is that what {text!r} means?")


def remove(class_name: ClassName, text: Words) -> None:
    """Take a normality back; the results are those from before, out of the cache."""
    said = _quoted("remove", class_name, text)

    def plan(params: Params, groups: Groups) -> Change:
        from nand.project.plans import removal

        return removal(params, groups, class_name, said)

    _change(class_name, plan, None)


def _quoted(command: str, class_name: str, words: list[str]) -> str:
    """The text; several words without quotes come as several arguments."""
    with one_line():
        if len(words) > 1:
            meant = shlex.join(["nand", command, class_name, " ".join(words)])
            raise NandError(f"{len(words)} words without quotes; if they are one text, quote it: {meant}")
    return words[0]


def list_normalities() -> None:
    """What is normal now, class by class, and the phrases and images that say it."""
    with one_line():
        require_project()
        from nand.project.structure import groups_of, images
        from nand_core.config import load_params
        from nand_core.normalities import resolve

        params = load_params(PARAMS)
        groups = groups_of((images(params) if params.prompts.normalities else None) or [])
    columns = ("class", "normal now", "is", "phrases, images", "source")
    table = table_of(*columns, left=len(columns))
    for class_name, entries in sorted(params.prompts.normalities.items()):
        for entry in entries:
            made = resolve(class_name, entry, groups.get(class_name, ()))
            table.add_row(class_name, made.text, _kind(made), *_source(made))
    if table.row_count:
        console(markup=False).print(table)  # a name can look like markup
    else:
        print('nothing beside the good images; add a text with: nand add CLASS "TEXT"')


def _kind(one: Normality) -> str:
    """``text``, ``labelled group``, ``3 examples, 1 unlike``, ``text and 3 examples``; a group ``by`` them alone."""
    text, counts = "labelled group" if one.group else "text" if one.asked else "", _counts(one)
    return (" and " if one.asked else " by ").join([text, counts]) if text and counts else text or counts


def _counts(one: Normality) -> str:
    like, unlike = len(one.like), len(one.unlike)
    counts = {f"{like} example{'s' if like != 1 else ''}": like, f"{unlike} unlike": unlike}
    return ", ".join(said for said, count in counts.items() if count)


def _source(one: Normality) -> tuple[str, str]:
    """The phrases and images that say it, and where the phrases come from."""
    from nand_core.datasets.files import listed

    said, made = [], "examples" if (SUPPRESSION / one.class_name / f"{one.name}.npz").exists() else None
    if one.asked:
        path = PROMPTS / one.class_name / f"{one.name}.json"
        prompt = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        said, made = [", ".join(prompt.get("phrases", one.phrases))], prompt.get("provider")
    for word, images in (("like", one.like), ("unlike", one.unlike)):
        if images:
            said.append(f"{word} {listed(image.image[17:] or image.image for image in images)}")
    return "; ".join(filter(None, said)), made or "to be run: nand repro"


@prompts.command(cls=InProject)
def export(
    class_name: Annotated[str | None, typer.Argument(metavar="[CLASS]", help="Of this class alone.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those of the reviewed bank too.")] = False,
) -> None:
    """Write the generated phrases into params.yaml, to be reviewed, edited and committed.

    They stand under prompts.explicit, from where they win over every generator. As long as nobody edits them,
    nothing but the prompts is computed again.
    """
    with one_line():
        require_project()
        from nand.project.params_file import append, read, write

        text, count = read(PARAMS), 0
        for path in sorted(PROMPTS.glob("*/*.json")):
            made = json.loads(path.read_text(encoding="utf-8"))
            wanted = made["provider"] in GENERATED or (every and made["provider"] == "curated")
            if wanted and class_name in (None, made["class"]):
                text = append(text, ("prompts", "explicit", made["class"], made["group"]), made["phrases"])
                count += 1
        if not count:
            raise NandError(f"{PROMPTS}: no generated phrases there; --all takes the reviewed bank as well")
        write(PARAMS, text)
    print(f"{PARAMS}: the phrases of {count} texts stand under prompts.explicit; review, edit and commit them")


def _show_auroc(normality: Normality) -> None:
    """The protocol's figures of a labelled group."""
    import pandas as pd

    table = pd.read_parquet(AUROC)
    rows = table[(table["class"] == normality.class_name) & (table["group"] == normality.group)]
    figures = [f"{r['detector']} {r['auroc_before']:.1f} → {r['auroc_after']:.1f}" for r in rows.to_dict("records")]
    print(f"AUROC with {normality.group!r} alone normal: {', '.join(figures)}")


@contextmanager
def _carried_out() -> Iterator[None]:
    """A mistake as one line, and what was stopped with the status of what stopped it."""
    from nand.project.change import Stopped

    try:
        with one_line():
            yield
    except Stopped as stopped:
        print(f"stopped; {stopped}", file=sys.stderr)
        raise typer.Exit(stopped.status) from stopped


def _show(change: Change, effect: Effect) -> None:
    """What the change does, and for a labelled group what the control of its text says of it."""
    import pandas as pd

    from nand.cli.effect import show_effect
    from nand_core.config import load_params
    from nand_core.effect import controls

    one, wrong = change.normality, None
    if one.group and not one.apart:
        wrong = controls(pd.read_parquet(OPERATING), one.class_name, one.group)
    show_effect(console(markup=False), one, effect, load_params(PARAMS).evaluation, added=change.added, wrong=wrong)


def _change(
    class_name: str,
    plan: Callable[[Params, Groups], Change],
    agree: Callable[[Change, Effect], bool] | None,
) -> None:
    from nand.project.change import apply

    with _carried_out():
        change = apply(class_name, plan, _seen, agree)
    verb = "is normal now" if change.added else "is no longer normal"
    counts = _counts(change.normality) if change.added else ""
    print(f"{change.normality.class_name}: {change.normality.text!r} {verb}{f' ({counts})' if counts else ''}")
    print("every image: results/normalities.parquet    report: results/report/normalities.html", flush=True)


def _seen(change: Change, effect: Effect) -> None:
    one = change.normality
    if change.added:
        print(f"{one.class_name}: if {one.text!r} is normal:")
    if change.tests:
        print(f"left out of what is counted, as examples of it: {change.tests} of the test images")
    _show(change, effect)
    if change.added and one.group and not _counts(one):  # its own figures are those of the text alone
        _show_auroc(one)
    sys.stdout.flush()
