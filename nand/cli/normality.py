"""The commands that change what is normal: ``nand add``, ``nand remove``, ``nand list``, ``nand prompts export``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from nand.cli.console import one_line, table_of
from nand.cli.effect import show_effect
from nand.project.change import Change, Groups, Stopped, apply, data_groups
from nand.project.params_file import append
from nand.project.place import PARAMS, require_project
from nand_core.artifacts.disk import replacing
from nand_core.errors import NandError

if TYPE_CHECKING:
    from nand_core.config import Params
    from nand_core.normalities import Normality

prompts = typer.Typer(no_args_is_help=True, help="The phrases that describe what is normal.")
PROMPTS = Path("artifacts/prompts")
AUROC = Path("results/auroc.parquet")
GENERATED = ("openai", "rules")

ClassName = Annotated[str, typer.Argument(metavar="CLASS")]
Words = Annotated[
    list[str],
    typer.Argument(metavar="TEXT", help="Quoted, such as 'loose fibre'; or the name of a labelled group."),
]


def add(
    class_name: ClassName,
    text: Words,
    phrase: Annotated[
        list[str] | None, typer.Option(help="A phrase for it in place of generated ones; may be given several times.")
    ] = None,
) -> None:
    """Make TEXT normal for CLASS from now on, and show what that does to every test image.

    It stands in params.yaml once all is computed: a run that fails or is stopped leaves the file as it was.
    """
    said = _quoted("add", class_name, text)

    def plan(params: Params, groups: Groups) -> Change:
        from nand.project.plans import addition

        return addition(params, groups, class_name, said, phrase or ())

    _change(class_name, plan)


def remove(class_name: ClassName, text: Words) -> None:
    """Take a normality back; the results are those from before, out of the cache."""
    said = _quoted("remove", class_name, text)

    def plan(params: Params, groups: Groups) -> Change:
        from nand.project.plans import removal

        return removal(params, groups, class_name, said)

    _change(class_name, plan)


def _quoted(command: str, class_name: str, words: list[str]) -> str:
    """The text; several words without quotes come as several arguments."""
    with one_line():
        if len(words) > 1:
            meant = shlex.join(["nand", command, class_name, " ".join(words)])
            raise NandError(f"{len(words)} words without quotes; if they are one text, quote it: {meant}")
    return words[0]


def list_normalities() -> None:
    """What is normal now, class by class, and the phrases that say it."""
    from nand_core.config import load_params
    from nand_core.normalities import resolve

    with one_line():
        require_project()
        params = load_params(PARAMS)
        groups = data_groups(params) or {}
    columns = ("class", "normal now", "is", "phrases", "source")
    table = table_of(*columns, left=len(columns))
    for class_name, entries in sorted(params.prompts.normalities.items()):
        for entry in entries:
            made = resolve(class_name, entry, groups.get(class_name, ()))
            path = PROMPTS / class_name / f"{made.name}.json"
            prompt = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            kind = "labelled group" if made.group else "text"
            said = ", ".join(prompt.get("phrases", made.phrases))
            table.add_row(class_name, made.text, kind, said, prompt.get("provider", "to be run: nand repro"))
    if table.row_count:
        Console().print(table)
    else:
        print('nothing beside the good images; add a text with: nand add CLASS "TEXT"')


@prompts.command()
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
        text, count = PARAMS.read_text(encoding="utf-8"), 0
        for path in sorted(PROMPTS.glob("*/*.json")):
            made = json.loads(path.read_text(encoding="utf-8"))
            wanted = made["provider"] in GENERATED or (every and made["provider"] == "curated")
            if wanted and class_name in (None, made["class"]):
                text = append(text, ("prompts", "explicit", made["class"], made["group"]), made["phrases"])
                count += 1
        if not count:
            raise NandError(f"{PROMPTS}: no generated phrases there; --all takes the reviewed bank as well")
        with replacing(PARAMS) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"{PARAMS}: the phrases of {count} texts stand under prompts.explicit; review, edit and commit them")


def _show_auroc(normality: Normality) -> None:
    """The protocol's figures of a labelled group."""
    import pandas as pd

    table = pd.read_parquet(AUROC)
    rows = table[(table["class"] == normality.class_name) & (table["group"] == normality.group)]
    figures = [f"{r['detector']} {r['auroc_before']:.1f} → {r['auroc_after']:.1f}" for r in rows.to_dict("records")]
    print(f"AUROC with {normality.group!r} alone normal: {', '.join(figures)}")


def _change(class_name: str, plan: Callable[[Params, Groups], Change]) -> None:
    try:
        with one_line():
            change, before, after = apply(class_name, plan)
    except Stopped as stopped:
        print(f"stopped; {stopped}", file=sys.stderr)
        raise typer.Exit(stopped.status) from stopped
    verb = "is normal now" if change.added else "is no longer normal"
    print(f"{class_name}: {change.normality.text!r} {verb}")
    if len(before) or len(after):
        show_effect(Console(), before, after, change.added)
    if change.added and change.normality.group:
        _show_auroc(change.normality)
    print("every image: results/normalities.parquet    report: results/report/normalities.html")
