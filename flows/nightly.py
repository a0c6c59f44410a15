"""Every night: data in, the pipeline for the settings of this checkout, results out."""

from __future__ import annotations

from prefect import flow, task

from flows import versions
from flows.checkout import git
from flows.parameters import Address, Hours, Name, at_its_time
from flows.programs import may_help, program
from flows.summary import publish_summary


@task(retries=1, retry_delay_seconds=60, retry_condition_fn=may_help)
def reproduce(hours: float) -> None:
    """``nand repro``: only what changed; what a killed run had finished is taken from the cache."""
    program("nand", "repro", hours=hours)


@flow(name="nightly", flow_run_name=at_its_time)
def nightly(
    remote: Name = "",
    save_commit: bool = False,
    tag: Name = "",
    git_remote: Name = "",
    report: Address = "",
    hours: Hours = 8.0,
) -> None:
    """Pull, reproduce, show, commit and push.

    A push that fails fails the run, but loses nothing: the results are here, and the next run pushes them too.

    Args:
        remote: DVC's remote; empty: its default one, and neither pull nor push without any.
        save_commit: commit ``params.yaml``, ``dvc.lock`` and ``normalities.jsonl``.
        tag: beginning of a tag's name for the commit; empty: none.
        git_remote: where the commit and its tag are pushed; empty: nowhere.
        report: address of the report for its link in Prefect; empty: only where it lies is told.
        hours: after which the pipeline is stopped.
    """
    versions.pull(remote)
    reproduce(hours)
    publish_summary(version(), report)
    if save_commit:
        versions.commit("Results of the nightly run")
    if tag:
        versions.tag(tag)
    versions.push(remote)
    if git_remote:
        versions.push_commit(git_remote)


def version() -> str:
    """The commit that a run is made from, and whether the settings are those of the commit."""
    changed = git("status", "--porcelain", "--", "params.yaml")
    settings = "`params.yaml` differs from the commit" if changed else "`params.yaml` as committed"
    return f"Commit `{git('rev-parse', '--short', 'HEAD')}`, {settings}."
