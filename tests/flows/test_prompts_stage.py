"""The prompts stage with a chat server: what is asked again and what not, and where the key ends up (nowhere)."""

from __future__ import annotations

import copy
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import pandas as pd
import prompts_server
import pytest
from pipeline_project import PARAMS, Project

from benchmarks.scratch import last_run
from flows.local_server import local_server
from flows.server import wait_for_server
from flows.text_features import check_normality, warn_of_unknown
from nand_core.errors import NandError
from nand_core.normalities import Normality
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.tokenizers import load_tokenizer

PHRASES = ["odd mark", "strange spot", "peculiar place", "unusual zone", "curious patch", "weird area"]
GROUPS = {"carpet": ["hole", "thread"], "wood": ["knot"]}


@pytest.fixture(scope="module")
def chat() -> ModuleType:
    """The scripted server of the generator's own tests."""
    return prompts_server


@pytest.fixture(scope="module")
def llm(chat) -> Iterator:
    with chat.Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.replies = [chat.good(PHRASES)]
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


class Stage:
    """The project, the server's requests so far and everything that was printed."""

    def __init__(self, project: Project, llm) -> None:
        self.project, self.llm, self.said = project, llm, ""

    def run(self) -> tuple[int, int, int]:
        """Exit status, items executed and requests of one run."""
        before = len(self.llm.requests)
        self.project.write_params()
        done = self.project.call(sys.executable, "-m", "flows", "prompts")
        self.said += done.stdout + done.stderr
        executed = last_run(self.project.folder)["prompts"]["executed"] if done.returncode == 0 else 0
        return done.returncode, executed, len(self.llm.requests) - before


@pytest.fixture(scope="module")
def stage(tmp_path_factory, chat, llm) -> Iterator[Stage]:
    host, port = llm.server_address
    params = copy.deepcopy(PARAMS)
    openai = {"base_url": f"http://{host}:{port}/v1", "model": "writer", "max_retries": 0, "timeout": 20}
    params["prompts"] = {"provider": "openai", "phrases": 4, "explicit": {}, "openai": openai}
    project = Project(tmp_path_factory.mktemp("project"), params)
    project.create()
    rows = [(name, group, "test") for name, groups in GROUPS.items() for group in ("", *groups)]
    (project.folder / "artifacts").mkdir()
    pd.DataFrame(rows, columns=["class", "group", "split"]).to_parquet(project.folder / "artifacts/manifest.parquet")
    del project.environment["PREFECT_LOGGING_TO_API_ENABLED"]
    project.environment |= {"OPENAI_API_KEY": chat.SECRET, "OPENAI_LOG": "debug"}
    with local_server(project.folder / ".nand/prefect", project.environment) as url:
        wait_for_server(url)
        project.environment["PREFECT_API_URL"] = url
        yield Stage(project, llm)


@pytest.fixture(scope="module")
def counts(stage, chat) -> dict[str, tuple[int, int, int]]:
    """Every change of the settings in turn."""
    prompts, found = stage.project.params["prompts"], {"first": stage.run(), "again": stage.run()}
    prompts["openai"]["temperature"] = 0.1
    found["temperature"] = stage.run()
    prompts["explicit"] = {"carpet": {"thread": ["loose thread"]}}
    found["text"] = stage.run()
    prompts["normalities"] = {"carpet": ["loose fibre", {"fuzz": ["grey fuzz"]}]}
    found["normality"] = stage.run()
    template = stage.project.folder / "nand_core/prompts/instruction_v1.txt"
    template.write_text(template.read_text().replace("concise", "short"))
    found["instruction"] = stage.run()
    prompts["openai"]["temperature"] = 0.2
    stage.llm.replies = [chat.Reply(json.dumps({"error": {"message": f"no quota for {chat.SECRET}"}}), 403)]
    found["refused"] = stage.run()
    return found


@pytest.mark.parametrize(
    ("change", "executed", "requests"),
    [
        ("first", 3, 3),
        ("again", 0, 0),
        ("temperature", 3, 3),
        ("text", 1, 0),
        ("normality", 2, 1),
        ("instruction", 3, 3),
    ],
)
def test_what_a_change_asks_for(counts, change, executed, requests):
    assert counts[change] == (0, executed, requests)


def test_the_phrases_are_the_servers(stage, counts):
    folder = stage.project.folder / "artifacts/prompts/carpet"
    made = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert set(made) == {"hole", "thread", "loose_fibre", "fuzz"}
    assert made["loose_fibre"]["phrases"] == PHRASES[:4]
    assert (made["loose_fibre"]["group"], made["loose_fibre"]["model"]) == ("loose fibre", "writer")
    assert made["fuzz"]["phrases"] == ["grey fuzz"]


def test_a_refusal_is_one_line(stage, counts):
    status, _, requests = counts["refused"]
    assert status == 1 and requests >= 1
    errors = [line for line in stage.said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "answered with status 403" in errors[0] and "no quota for [key]" in errors[0]


def test_the_key_is_in_nothing_that_the_runs_left(stage, chat, counts):
    secret = chat.SECRET.encode()
    assert all(f"Bearer {chat.SECRET}" == headers["Authorization"] for headers in stage.llm.headers)
    files = [path for path in stage.project.folder.rglob("*") if path.is_file()]
    names = {path.relative_to(stage.project.folder).as_posix() for path in files}
    assert {".nand/prefect/prefect.db", ".nand/prefect/server.log", ".nand/last_run.json"} <= names
    assert any(name.startswith(".nand/store/records/") for name in names)
    assert any(name.startswith("artifacts/prompts/") for name in names)
    assert not [path for path in files if secret in path.read_bytes()]
    assert chat.SECRET not in stage.said and "no quota" in stage.said


@pytest.mark.parametrize("said", [{"provider": "rules", "phrases": ["царапина on carpet"]},
                                  {"provider": "openai", "phrases": ["缺陷", "缺陷 on carpet"]}])  # fmt: skip
def test_a_stage_refuses_a_normality_of_which_nothing_is_understood(said, capsys):
    tokenizer, made = load_tokenizer(EncoderSettings()), {"class": "carpet", "group": "царапина", **said}
    one = Normality("carpet", "царапина", "", (), "text-1")
    with pytest.raises(NandError, match=r"^prompts\.normalities\.carpet: 'царапина': .* force it with 'force: true'"):
        check_normality(one, made, tokenizer)
    check_normality(replace(one, force=True), made, tokenizer)
    warn_of_unknown("carpet/x", made, tokenizer)
    words = "царапина" if said["provider"] == "rules" else "缺陷"
    assert capsys.readouterr().out == f"warning: carpet/x: the text encoder does not know: {words}\n"
