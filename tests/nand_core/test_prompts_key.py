"""The key of the chat server shows up nowhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import prompts_server
import pytest
from prompts_server import GOOD, SECRET, Reply, ask, drop, fails, good, hang, message, settings

from nand_core.errors import NandError
from nand_core.prompts.openai_client import KEY
from nand_core.prompts.provide import make_prompts
from nand_core.prompts.settings import PromptSettings

llm, delays = prompts_server.llm, prompts_server.delays


@pytest.mark.parametrize(
    "replies",
    [
        [Reply("no", 500)],
        [Reply(json.dumps({"error": {"message": "x" * 150 + f" bad key {SECRET}"}}), 401)],
        [Reply(act=drop)],
        [Reply(act=hang)],
        [Reply(f"your key is {SECRET}")],
        [Reply(message(None, refusal=f"not with {SECRET}"))],
        [good([f"thread {SECRET}"])],
        [Reply(b"x" * 1024 * 1024)],
    ],
)
def test_the_key_shows_in_no_error_and_no_log(llm, delays, caplog, replies):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NandError) as error:
        ask(llm, *replies, timeout=0.3, max_retries=1)
    assert SECRET[:12] not in "".join(exposed(error.value))
    assert caplog.records
    assert all(SECRET not in record.getMessage() + repr(record.__dict__) for record in caplog.records)


def test_a_key_in_a_header_of_the_answer_shows_in_no_error(llm, delays, caplog):
    caplog.set_level(logging.INFO)
    text = fails(llm, Reply("no", 429, {"Retry-After": SECRET}))
    assert SECRET[:12] not in text + caplog.text


def test_the_key_shows_in_no_prompts(llm, caplog):
    caplog.set_level(logging.DEBUG)
    llm.replies = [good([f"thread {SECRET}", *GOOD])]
    given = PromptSettings(provider="openai", phrases=4, openai=settings(llm))
    made = make_prompts("carpet", "thread", given, now=datetime(2024, 7, 29, tzinfo=UTC))
    assert made.phrases[0] == "loose thread on carpet"
    assert SECRET not in made.model_dump_json() + caplog.text


def exposed(error: BaseException | None) -> Iterator[str]:
    """All that a traceback with local variables, or a debugger, would show of an exception and its causes."""
    if error is None:
        return
    yield repr(error)
    trace = error.__traceback__
    while trace:
        if (
            "nand_core" in trace.tb_frame.f_code.co_filename
            and "tests" not in trace.tb_frame.f_code.co_filename
        ):
            yield repr(trace.tb_frame.f_locals)
        trace = trace.tb_next
    assert error.__cause__ is None
    yield from exposed(error.__context__)


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_missing_key_is_asked_for(llm, monkeypatch, key):
    monkeypatch.delenv(KEY) if key is None else monkeypatch.setenv(KEY, key)
    assert f"set the environment variable {KEY}" in fails(llm, good())
    assert llm.requests == []


@pytest.mark.parametrize("key", ["sk-schlüssel-0123", "sk-line\nbreak-0123"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(llm, monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    text = fails(llm, good())
    assert f"{KEY} has characters that no key can have" in text
    assert key[:7] not in text
    assert llm.requests == []


def test_a_word_in_place_of_a_key_is_no_secret(llm, monkeypatch):
    monkeypatch.setenv(KEY, "thread")
    assert ask(llm, good()).phrases[0] == "loose thread on carpet"
