"""Versions inside a flow: data and outs from DVC's remote and back to it, and a commit where one is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect import get_run_logger, task
from prefect.tasks import exponential_backoff

from flows.checkout import DVC_LOCK, NORMALITIES_LOG, git
from flows.programs import may_help, program
from nand_core.errors import NandError

UNPUSHED = Path(".nand/unpushed")
"""There while some run's results have not reached the remote."""

# What goes over a network is worth further tries, after 10, 20 and 40 seconds and a bit.
network = task(
    retries=3, retry_delay_seconds=exponential_backoff(10), retry_jitter_factor=0.5, retry_condition_fn=may_help
)


@network
def pull(remote: str) -> None:
    """Data sets under version control, and the outs of ``dvc.lock``, as far as the remote has them.

    A data set that was changed here is an error; outs can be made again and are replaced.
    """
    if not has_remote(remote):
        get_run_logger().info("no DVC remote: nothing is pulled")
        return
    where = ["--remote", remote] if remote else []
    if data := git("ls-files", "*.dvc").splitlines():
        program("dvc", "pull", "--allow-missing", *where, *data)
    if DVC_LOCK.exists():
        program("dvc", "pull", "--allow-missing", "--force", *where, "dvc.yaml")


@network
def push(remote: str) -> None:
    """Everything that is not in the remote yet; the results of earlier commits too, if their push failed."""
    if not has_remote(remote):
        get_run_logger().info("no DVC remote: nothing is pushed")
        return
    earlier = ["--all-commits"] if UNPUSHED.exists() else []
    UNPUSHED.parent.mkdir(exist_ok=True)
    UNPUSHED.touch()
    program("dvc", "push", *(["--remote", remote] if remote else []), *earlier)
    UNPUSHED.unlink()


def has_remote(remote: str) -> bool:
    """Whether DVC has the remote, or a default one where none is named; NandError for an unknown name."""
    names = [line.split()[0] for line in program("dvc", "remote", "list") if line.strip()]
    if remote and remote not in names:
        raise NandError(f"remote: DVC has no remote {remote!r}; it has {', '.join(names) or 'none'}")
    return bool(names)


@task
def commit(message: str) -> None:
    """Commit ``params.yaml``, ``dvc.lock`` and the log of normalities, if they changed."""
    # Before the first nand add there is no log, and git refuses to add what is not there.
    files = ["params.yaml", str(DVC_LOCK), *[str(NORMALITIES_LOG)] * NORMALITIES_LOG.exists()]
    if git("status", "--porcelain", "--", *files):
        git("add", "--", *files)
        git("commit", "--quiet", "--message", message, "--", *files)
        get_run_logger().info("commit %s", git("rev-parse", "HEAD"))


@task
def tag(beginning: str) -> None:
    """Tag the commit with the time: ``<beginning>-20261124T020000Z``."""
    name = f"{beginning}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    git("tag", name)
    get_run_logger().info("tag %s", name)


@network
def push_commit(git_remote: str) -> None:
    """The branch and its tags to a git remote."""
    git("push", "--quiet", git_remote, "HEAD")
    git("push", "--quiet", git_remote, "--tags")
