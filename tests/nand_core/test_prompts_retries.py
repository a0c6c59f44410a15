"""The generator against a chat server: retries, time-outs and the limit on requests at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import prompts_server
import pytest
from prompts_server import Handler, Reply, Server, ask, drop, drop_in_the_middle, fails, good, hang

from nand_core.prompts.openai_client import KEY

llm, delays = prompts_server.llm, prompts_server.delays


def test_429_waits_as_long_as_the_server_asks(llm, delays):
    busy = Reply("{}", 429, {"Retry-After": "7"})
    assert len(ask(llm, busy, busy, good()).phrases) == 4
    assert delays == [7.0, 7.0]
    assert len(llm.requests) == 3


def test_429_to_the_end_is_one_clear_line(llm, delays):
    text = fails(llm, Reply('{"error": {"message": "slow down"}}', 429, {"Retry-After": "7"}))
    assert "answered with status 429, Retry-After 7 in 3 tries" in text
    assert "slow down" in text
    assert "concurrency" in text
    assert len(llm.requests) == 3


def test_a_wait_of_hours_is_not_begun(llm, delays):
    text = fails(llm, Reply("{}", 429, {"Retry-After": "7200"}))
    assert "Retry-After 7200 in 1 try" in text
    assert (delays, len(llm.requests)) == ([], 1)


def test_500_is_tried_again_with_growing_delays(llm, delays):
    assert len(ask(llm, Reply("oops", 500), Reply("oops", 503), good()).phrases) == 4
    assert len(llm.requests) == 3
    assert 0 < delays[0] < delays[1]


def test_500_to_the_end_is_one_clear_line(llm, delays):
    assert "answered with status 500 in 3 tries (oops)" in fails(llm, Reply("oops", 500))
    assert len(llm.requests) == 3


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, f"check the key in {KEY}"), (404, "model 'writer'"), (307, "check prompts.openai")],
)
def test_what_cannot_get_better_is_not_tried_again(llm, delays, status, hint):
    text = fails(llm, Reply("no", status, {"Location": "http://127.0.0.1:9/"}))
    assert f"status {status} in 1 try" in text
    assert hint in text
    assert len(llm.requests) == 1


def test_a_bad_request_is_tried_without_structured_output_and_then_explained(llm, delays):
    text = fails(llm, Reply('{"error": {"message": "temperature must be 1"}}', 400))
    assert "temperature must be 1" in text
    assert "may be null" in text
    assert len(llm.requests) == 2


def test_a_timeout_is_tried_again(llm, delays):
    assert len(ask(llm, Reply(act=hang), good(), timeout=0.3).phrases) == 4
    assert len(llm.requests) == 2


def test_timeouts_to_the_end_are_one_clear_line(llm, delays):
    text = fails(llm, Reply(act=hang), timeout=0.2, max_retries=1)
    assert "gave no answer within 0.2 s in 2 tries; raise prompts.openai.timeout" in text
    assert len(llm.requests) == 2


@pytest.mark.parametrize("broken", [drop, drop_in_the_middle])
def test_a_dropped_connection_is_tried_again(llm, delays, broken):
    assert len(ask(llm, Reply(act=broken), good()).phrases) == 4
    assert len(llm.requests) == 2


@pytest.mark.parametrize("broken", [drop, drop_in_the_middle])
def test_connections_dropped_to_the_end_are_one_clear_line(llm, delays, broken):
    text = fails(llm, Reply(act=broken))
    assert "cannot be reached in 3 tries (" in text
    assert "check prompts.openai.base_url" in text
    assert len(llm.requests) == 3


def test_a_closed_port_is_one_clear_line(llm, delays):
    closed = Server()
    closed.server_close()
    text = fails(closed, good(), max_retries=1)
    assert "cannot be reached in 2 tries" in text
    assert "refused" in text


def test_no_more_requests_at_once_than_allowed(llm):
    pair, third, lock, active, peak = threading.Barrier(2), threading.Event(), threading.Lock(), 0, 0

    def together(handler: Handler) -> None:
        nonlocal active, peak
        with lock:
            active += 1
            peak = max(peak, active)
            if active > 2:
                third.set()
        pair.wait(10)
        third.wait(0.3)
        with lock:
            active -= 1
        data = good().body.encode()
        handler.start(200, {"Content-Length": str(len(data))})
        handler.wfile.write(data)

    with ThreadPoolExecutor(6) as pool:
        made = [pool.submit(ask, llm, Reply(act=together), concurrency=2) for _ in range(6)]
        assert all(len(each.result().phrases) == 4 for each in made)
    assert len(llm.requests) == 6
    assert peak == 2
