"""The commands that change what is normal: ``nand add``, ``nand remove``, ``nand list``, ``nand prompts export``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nand_core.artifacts.disk import replacing
from nand_core.change import PARAMS, Change, Groups, Stopped, apply, data_groups
from nand_core.errors import NandError, nearest
from nand_core.invocation import one_line
from nand_core.params_file import append, discard

if TYPE_CHECKING:
    from nand_core.config import Params
    from nand_core.normalities import Normality

app = typer.Typer()
prompts = typer.Typer(no_args_is_help=True, help="The phrases that describe what is normal.")
app.add_typer(prompts, name="prompts")
PROMPTS = Path("artifacts/prompts")
AUROC = Path("results/auroc.parquet")
GENERATED = ("openai", "rules")

ClassName = Annotated[str, typer.Argument(metavar="CLASS")]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="Such as 'loose fibre'; or the name of a labelled group.")]


@app.command()
def add(
    class_name: ClassName,
    text: Text,
    phrase: Annotated[
        list[str] | None, typer.Option(help="A phrase for it in place of generated ones; may be given several times.")
    ] = None,
) -> None:
    """Make TEXT normal for CLASS from now on, and show what that does to every test image.

    It stands in params.yaml once all is computed: a run that fails or is stopped leaves the file as it was.
    """

    def plan(params: Params, groups: Groups) -> Change:
        from nand_core.normalities import resolve
        from nand_core.prompts.clean import checked_phrase
        from nand_core.prompts.provide import prompt_key, with_phrases
        from nand_core.prompts.settings import Added

        where = f"nand add {class_name}"
        given = tuple(checked_phrase(one, where) for one in phrase or ())
        entry = Added(text=checked_phrase(text, where), phrases=given)
        made = resolve(class_name, entry, groups[class_name])
        if _find(made, params, groups):
            raise NandError(f"{class_name}: {made.text!r} is normal already, see 'nand list'; remove it to change it")
        # Refuses a text that no phrases can be made of, before anything runs.
        prompt_key(class_name, made.text, with_phrases(params.prompts, class_name, made.text, given))
        item: Any = {made.text: list(given)} if given else made.text
        return Change(made, lambda file: append(file, ("prompts", "normalities", class_name), [item]), added=True)

    _change(class_name, plan)


@app.command()
def remove(class_name: ClassName, text: Text) -> None:
    """Take a normality back; the results are those from before, out of the cache."""

    def plan(params: Params, groups: Groups) -> Change:
        from nand_core.normalities import resolve
        from nand_core.prompts.clean import clean
        from nand_core.prompts.settings import Added

        wanted = resolve(class_name, Added(text=clean(text)), groups[class_name])
        found = _find(wanted, params, groups)
        if found is None:
            known = [
                resolve(class_name, entry, groups[class_name]).text
                for entry in params.prompts.normalities.get(class_name, ())
            ]
            raise NandError(f"{class_name}: {text!r} is not among its normalities{nearest(clean(text), known)}")

        def edit(file: str) -> str:
            file = discard(file, ("prompts", "normalities", class_name), lambda item: clean(_text(item)) == found.text)
            if not wanted.group and found.text in params.prompts.explicit.get(class_name, {}):
                file = discard(file, ("prompts", "explicit", class_name, found.text), lambda _: True)
            return file

        return Change(resolve(class_name, found, groups[class_name]), edit, added=False)

    _change(class_name, plan)


@app.command(name="list")
def list_normalities() -> None:
    """What is normal now, class by class, and the phrases that say it."""
    from nand_core.config import load_params
    from nand_core.normalities import resolve

    with one_line():
        params = load_params(PARAMS)
        groups = data_groups(params) or {}
    table = Table()
    for name in ("class", "normal now", "is", "phrases", "source"):
        table.add_column(name)
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


def _find(made: Normality, params: Params, groups: Groups) -> Any | None:
    """The settings' entry that means the same normality."""
    from nand_core.normalities import resolve

    for entry in params.prompts.normalities.get(made.class_name, ()):
        other = resolve(made.class_name, entry, groups[made.class_name])
        if (made.group or made.text) == (other.group or other.text):
            return entry
    return None


def _text(item: Any) -> str:
    """The text of an entry as it stands in the file."""
    return item if isinstance(item, str) else str(next(iter(item)))


def _change(class_name: str, plan: Callable[[Params, Groups], Change]) -> None:
    try:
        with one_line():
            change, before, after = apply(class_name, plan)
    except Stopped as stopped:
        print(f"stopped; {stopped}", file=sys.stderr)
        raise typer.Exit(stopped.status) from stopped
    from nand_core.effect import show_effect

    verb = "is normal now" if change.added else "is no longer normal"
    print(f"{class_name}: {change.normality.text!r} {verb}")
    if len(before) or len(after):
        show_effect(Console(), before, after, change.added)
    if change.added and change.normality.group:
        _show_auroc(change.normality)
    print("every image: results/normalities.parquet    report: results/report/normalities.html")
