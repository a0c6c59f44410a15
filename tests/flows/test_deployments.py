"""The deployments on a real server, work pool and worker: the commands of docs/deploy.md, on free ports."""

from __future__ import annotations

import copy
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.scratch import PARAMS, Scratch, executed, seed_database
from flows.local_server import local_server
from flows.processes import end_tree
from flows.server import wait_for_server


class Served:
    """A project with deployments on a server of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = Scratch(folder / "project", copy.deepcopy(PARAMS))
        self.project.create()
        self.environment = self.project.environment
        self.environment |= {
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        said = self.project.dvc("remote", "add", "--force", "--default", "storage", str(folder / "remote"))
        assert said.returncode == 0, said.stderr
        self.project.commit("Where the results are")

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.project.call(sys.executable, "-m", "prefect", "--no-prompt", *arguments)

    def run(self, deployment: str, **parameters: str) -> subprocess.CompletedProcess:
        given = [word for name, value in parameters.items() for word in ("--param", f"{name}={value}")]
        return self.prefect("deployment", "run", deployment, "--watch", *given)

    @contextmanager
    def worker(self, project: Scratch, name: str = "gpu-0") -> Iterator[subprocess.Popen]:
        environment = {**self.environment, **project.environment, "NAND_CHECKOUT": str(project.folder)}
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "gpu", "--limit", "1", "--name", name]
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield process
            finally:
                end_tree(process)

    def ask(self, what: str, **question) -> list[dict]:
        url = f"{self.environment['PREFECT_API_URL']}/{what}/filter"
        return httpx.post(url, json=question, trust_env=False, timeout=60).raise_for_status().json()

    def runs(self, flow: str) -> list[dict]:
        return self.ask("flow_runs", flows={"name": {"any_": [flow]}}, sort="START_TIME_ASC")

    def at_work(self, flow: str) -> bool:
        return any(run["state_type"] in ("PENDING", "RUNNING") for run in self.runs(flow))

    def done_by_schedule(self) -> int:
        runs = self.runs("inspect")
        return sum(run["auto_scheduled"] and run["state_type"] == "COMPLETED" for run in runs)

    def artifact(self, key: str) -> str:
        found = self.ask("artifacts", artifacts={"key": {"any_": [key]}}, sort="CREATED_DESC")
        assert found, key
        return found[0]["data"]


def wait_until(true, seconds: float = 480.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("deployments"))
    seed_database(served.folder / "server")
    with local_server(served.folder / "server", served.environment) as url:
        wait_for_server(url)
        served.environment["PREFECT_API_URL"] = url
        for command in (("work-pool", "create", "gpu", "--type", "process"), ("deploy", "--all")):
            said = served.prefect(*command)
            assert said.returncode == 0, said.stdout + said.stderr
        yield served


def completed(said: subprocess.CompletedProcess) -> None:
    assert said.returncode == 0 and "Completed" in said.stdout, said.stdout + said.stderr


def test_all_deployments_run_to_the_end_and_a_schedule_fires_by_itself(served: Served) -> None:
    project = served.project
    with served.worker(project):
        completed(served.run("nightly/nightly", save_commit="true", tag="nightly"))
        first = project.digests()
        assert "results/report/index.html" in first
        assert project.git("tag", "--list", "nightly-*").startswith("nightly-20")
        assert project.git("status", "--porcelain", "--", "params.yaml", "dvc.lock") == ""
        table = served.artifact("nightly-table")
        assert "| detector | verdict | accepted % |" in table and "| april_gan |" in table
        assert "There was none." in table and "`params.yaml` as committed" in table
        report = served.artifact("nightly-report")
        assert "file:" not in report and f"On `{socket.gethostname()}`: " in report and "dvc pull" in report
        names = {run["name"] for run in served.runs("nightly") if run["state_type"] == "COMPLETED"}
        assert all(re.fullmatch(r"nightly 20\d\d-\d\d-\d\d \d\d:\d\d", name) for name in names), names

        words = {"class_name": "carpet", "text": "loose fibre", "accept_lost": "true"}
        completed(served.run("add-normality/add-normality", **words))
        assert "loose fibre" in (project.folder / "params.yaml").read_text()
        told = served.artifact("add-normality-effect")
        assert "- **april_gan**: " in told and "other" in told
        assert "| april_gan | thread | 2 |" in told

        inbox = project.folder / "inspection/inbox/carpet"
        inbox.mkdir(parents=True, exist_ok=True)  # there, if the schedule came first
        image = next((project.folder / "data/demo/carpet/test/thread").glob("*.png"))
        shutil.copy(image, inbox / "new.png")
        time.sleep(5)  # as long as a file must have been left alone
        wait_until(lambda: not served.at_work("inspect"))  # a schedule's own: a second would be cancelled
        completed(served.run("inspect/inspect"))
        assert [path.name[17:] for path in (project.folder / "inspection/done/carpet").iterdir()] == ["new.png"]

        before = served.done_by_schedule()
        said = served.prefect("deployment", "schedule", "create", "inspect/inspect", "--interval", "15")
        assert said.returncode == 0, said.stderr
        wait_until(lambda: served.done_by_schedule() > before)
    # Pushed: another machine's clone pulls and has nothing to do.
    project.commit("with the added normality")
    clone = Scratch(served.folder / "elsewhere", project.params, {**project.environment, "HOME": str(served.folder)})
    project.git("clone", "--quiet", str(project.folder), str(clone.folder))
    said = clone.dvc("pull")
    assert said.returncode == 0, said.stderr
    assert clone.digests() == project.digests()
    said = clone.call(sys.executable, "-m", "nand", "repro")
    assert said.returncode == 0 and executed(said.stdout + said.stderr) == {}, said.stdout + said.stderr
    assert clone.digests() == project.digests()


def test_what_no_retry_can_mend_is_tried_once_and_named(served: Served) -> None:
    said = served.run("add-normality/add-normality", class_name="../secret", text="loose fibre")
    assert said.returncode == 1 and "class_name" in said.stdout + said.stderr
    before = (served.project.folder / "params.yaml").read_text()
    said = served.run("add-normality/add-normality", class_name="carpt", text="loose fibre")
    assert said.returncode == 1 and "carpet" in said.stdout + said.stderr, "a list in Prefect's form"
    with served.worker(served.project):
        said = served.run("add-normality/add-normality", class_name="carpet", text="fuzz", like='["nowhere.png"]')
        assert said.returncode == 1
    (run,) = [run for run in served.runs("add-normality") if run["state_type"] == "FAILED"]
    assert run["name"] == "carpet: fuzz" and "nowhere.png" in run["state"]["message"]
    tasks = served.ask("task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    assert [task["run_count"] for task in tasks] == [1]
    assert (served.project.folder / "params.yaml").read_text() == before


def test_a_killed_worker_costs_nothing_but_time(served: Served) -> None:
    project = served.project
    expected = project.digests()
    project.forget()
    earlier = {run["id"] for run in served.runs("nightly")}
    with served.worker(project, "doomed") as worker:
        said = served.prefect("deployment", "run", "nightly/nightly")
        assert said.returncode == 0, said.stderr
        wait_until(lambda: len(project.records()) >= 12)
        kill_tree(worker)
    assert project.digests() != expected
    least = len(project.records())
    (killed,) = [run for run in served.runs("nightly") if run["id"] not in earlier and not run["auto_scheduled"]]
    assert killed["state_type"] == "RUNNING"
    assert served.prefect("flow-run", "delete", killed["id"]).returncode == 0
    with served.worker(project):
        completed(served.run("nightly/nightly"))
    assert project.digests() == expected
    done = json.loads((project.folder / ".nand/last_run.json").read_text())["stages"]
    assert sum(stage["executed"] for stage in done.values()) <= len(project.records()) - least


def kill_tree(process: subprocess.Popen) -> None:
    """``kill -9`` of the worker and of all below it, the Prefect server not among them."""
    import psutil

    top = psutil.Process(process.pid)
    for one in [top, *top.children(recursive=True)]:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def test_two_workers_on_one_store_share_the_work(served: Served) -> None:
    store = served.folder / "shared-store"
    projects = []
    for name in ("one", "two"):
        project = Scratch(
            served.folder / name, copy.deepcopy(PARAMS), {**served.environment, "NAND_STORE": str(store)}
        )
        project.create()
        projects.append(project)
    # One run of a deployment at a time; two deployments of the same flow run side by side.
    text = (served.project.folder / "prefect.yaml").read_text()
    other = text.replace("- name: nightly", "- name: second")
    (served.project.folder / "second.yaml").write_text(other)
    said = served.prefect("deploy", "--name", "second", "--prefect-file", "second.yaml")
    assert said.returncode == 0, said.stdout + said.stderr
    earlier = {run["id"] for run in served.runs("nightly")}
    with served.worker(projects[0], "w-one"), served.worker(projects[1], "w-two"):
        for name in ("nightly/nightly", "nightly/second"):
            assert served.prefect("deployment", "run", name).returncode == 0

        def ended() -> bool:
            runs = [run for run in served.runs("nightly") if run["id"] not in earlier]
            states = [run["state_type"] for run in runs if not run["auto_scheduled"]]
            assert "FAILED" not in states and "CRASHED" not in states
            return states == ["COMPLETED"] * 2

        wait_until(ended)
    one, two = (project.digests() for project in projects)
    assert one and one == two
    counts = [json.loads((p.folder / ".nand/last_run.json").read_text())["stages"] for p in projects]
    total = sum(stage["executed"] for stages in counts for stage in stages.values())
    assert total == len(list((store / "records").iterdir()))
