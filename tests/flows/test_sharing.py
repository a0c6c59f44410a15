"""Results by DVC's remotes, items by a shared store: whoever comes later computes nothing again."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_project import ROOT, Project, State

from benchmarks.scratch import last_run, seed_database
from flows.local_server import local_server
from flows.server import wait_for_server

SUMMARY = {"works", "harms", "accepted", "retained", "lost", "gain"}
BUCKET = "team"
STAGES = 10
NAND_CACHE = (sys.executable, "-m", "nand", "cache")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment of an S3 server on this machine."""
    boto3 = pytest.importorskip("boto3", reason="needs the extra [test]: moto[server] and dvc-s3")
    server = pytest.importorskip("moto.server", reason="needs the extra [test]: moto[server] and dvc-s3")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    access = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **access).create_bucket(Bucket=BUCKET)
    yield {name.upper(): value for name, value in access.items()} | {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    running.stop()


@pytest.fixture(scope="module")
def published(project: Project, tmp_path_factory: pytest.TempPathFactory) -> State:
    """A first worker's run, with a second level of the store; its results are committed."""
    project.params["dataset"]["classes"] = ["carpet"]
    project.params["detectors"] = {"april_gan": {"kind": "april_gan"}}
    project.environment["NAND_STORE"] = f"file://{tmp_path_factory.mktemp('shared')}/nand"
    state = project.run()
    project.commit("results")
    return state


@pytest.fixture(scope="module")
def folder_remote(published: State, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("remote"))


def succeeds(said: subprocess.CompletedProcess) -> str:
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-3000:]
    return said.stdout


def clone(project: Project, folder: Path, environment: dict[str, str] | None = None) -> Project:
    """What ``git clone`` gives."""
    project.git("clone", "--quiet", str(project.folder), str(folder))
    return Project(folder, project.params, {**project.environment, **(environment or {})})


def add_remote(project: Project, url: str) -> None:
    succeeds(project.dvc("remote", "add", "--local", "--force", "--default", "storage", url))


def moved(project: Project, url: str, folder: Path, environment: dict[str, str]) -> Project:
    """Push here, clone and pull there."""
    project.environment |= environment
    add_remote(project, url)
    succeeds(project.dvc("push"))
    other = clone(project, folder)
    add_remote(other, url)
    succeeds(other.dvc("pull"))
    return other


def runs_nothing(project: Project, published: State) -> None:
    project.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = succeeds(project.dvc("repro"))
    assert said.count("didn't change, skipping") == STAGES and re.findall("Running stage '(.+)'", said) == ["inputs"]
    assert project.digests() == published.files
    assert project.git("status", "--porcelain") == ""
    assert [path.name for path in (project.folder / ".nand").iterdir()] == ["known_files.json"]


def documented_remote(project: Project, document: str, place: str) -> None:
    """What a document says to a project that has no remote yet, or one from the other document."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    said = next(line for line in text.splitlines() if line.startswith(".venv/bin/dvc remote add"))
    arguments = shlex.split(said, comments=True)[1:]
    succeeds(project.dvc(*arguments[:-1], place))
    project.git("commit", "--quiet", "--message", "Where the results are", ".dvc/config")


@pytest.fixture(scope="module")
def pulled(project, published, folder_remote, tmp_path_factory) -> Project:
    """A clone whose results came from a folder: of a checkout that followed one document after the other."""
    documented_remote(project, "deploy.md", str(tmp_path_factory.mktemp("earlier")))
    documented_remote(project, "sharing.md", folder_remote)
    succeeds(project.dvc("push"))
    other = clone(project, tmp_path_factory.mktemp("clone") / "project")
    succeeds(other.dvc("pull"))
    return other


def test_pulled_from_a_folder_nothing_is_left_to_do(pulled, published):
    runs_nothing(pulled, published)


def test_pulled_from_s3_nothing_is_left_to_do(project, published, s3, tmp_path):
    runs_nothing(moved(project, f"s3://{BUCKET}/dvc", tmp_path / "project", s3), published)


def test_pull_adds_what_is_missing_and_asks_before_it_removes(pulled, published):
    groups = pulled.folder / "artifacts/suppression/carpet"
    (groups / "thread.npz").unlink()
    succeeds(pulled.dvc("pull"))
    assert pulled.digests() == published.files
    (groups / "stranger.npz").write_bytes(b"unsaved")
    said = pulled.dvc("pull")
    assert said.returncode == 1 and "--force" in said.stderr and (groups / "stranger.npz").exists()
    succeeds(pulled.dvc("pull", "--force"))
    assert pulled.digests() == published.files


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Iterator[str]:
    home = tmp_path_factory.mktemp("prefect")
    seed_database(home)
    with local_server(home, project.environment) as url:
        wait_for_server(url)
        yield url


def test_another_worker_takes_every_item_from_the_second_level(project, published, server, tmp_path):
    other = clone(project, tmp_path / "project", {"PREFECT_API_URL": server})
    succeeds(other.pipeline())
    items = {name: row["items"] for name, row in published.stages.items()}
    assert {name: row["cached"] for name, row in last_run(other.folder).items()} == items
    assert other.digests() == published.files
    said = succeeds(other.call(*NAND_CACHE, "prune", "--keep-current", "--dry-run"))
    assert "would remove 0 objects" in said and "and 0 files of no use" in said
    succeeds(other.call(*NAND_CACHE, "prune", "--max-size", "0"))
    (other.folder / "artifacts/suppression/carpet/thread.npz").unlink()
    said = other.call(sys.executable, "-m", "flows", "suppression").stderr
    assert "suppression: 5 of 5 items (5 from the cache)" in said, "pruned here, it comes from there"
    assert other.digests() == published.files


def test_an_experiment_redoes_what_its_setting_touches(pulled, published, server):
    path = os.pathsep.join([str(Path(sys.executable).parent), pulled.environment["PATH"]])
    pulled.environment |= {"PREFECT_API_URL": server, "PATH": path}
    settings = [f"--set-param=suppression.{setting}" for setting in ("dilation=255", "competing=false")]
    said = succeeds(pulled.dvc("exp", "run", "--name", "blunt", *settings))
    assert {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")} == {
        "inputs", "suppression", "evaluate", "report",
    }  # fmt: skip
    counts = {name: row["executed"] for name, row in last_run(pulled.folder).items() if row["executed"]}
    assert set(counts) == {"suppression", "evaluate", "report"} and counts["suppression"] == 5
    assert pulled.digests() != published.files

    shown = json.loads(succeeds(pulled.dvc("exp", "show", "--json")))
    (branch,) = [row for row in shown if row["rev"] != "workspace"]
    assert [one["name"] for one in branch["experiments"]] == ["blunt"]
    changed = json.loads(succeeds(pulled.dvc("metrics", "diff", "--json")))["results/summary.json"]
    assert "april_gan.gain" in changed and {name.partition(".")[2] for name in changed} <= SUMMARY
    changed = json.loads(succeeds(pulled.dvc("params", "diff", "--json")))["params.yaml"]
    assert set(changed) == {"suppression.dilation", "suppression.competing"}
    succeeds(pulled.dvc("plots", "diff", "--out", "plots", "HEAD"))
    page = (pulled.folder / "plots/index.html").read_text()
    assert "workspace" in page and "HEAD" in page

    pulled.git("checkout", "--quiet", ".")
    succeeds(pulled.dvc("checkout"))
    assert pulled.digests() == published.files
    succeeds(pulled.dvc("exp", "apply", "blunt"))
    assert pulled.digests() != published.files


@pytest.mark.parametrize("data", [b"", b"bytes" * 99_999])
def test_a_second_level_in_s3(s3, tmp_path, monkeypatch, data):
    from nand_core.artifacts.remote import open_store

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    one, two = (open_store(tmp_path / name, {"NAND_STORE": f"s3://{BUCKET}/nand"}) for name in ("one", "two"))
    key = f"evaluate-{len(data)}"
    assert one.answers() and two.lookup(key) is None
    record = one.put(data, "npz")
    one.note(key, record)
    assert two.lookup(key) == record and two.path(record).read_bytes() == data
    one.files.pipe_file(one._there(record), data[:-1] + b"?")
    assert open_store(tmp_path / "three", {"NAND_STORE": f"s3://{BUCKET}/nand"}).lookup(key) is None


def test_a_bucket_that_is_not_there_is_not_made(s3, tmp_path, monkeypatch, caplog):
    import boto3

    from nand_core.artifacts.remote import open_store

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    store = open_store(tmp_path, {"NAND_STORE": "s3://typo/nand"})
    record = store.put(b"bytes", "npz")
    store.note("evaluate-1", record)
    assert store.lookup("evaluate-1") == record
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert ["s3://typo/nand cannot be written" in text for text in warnings] == [True]
    names = [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    assert names == [BUCKET]
