"""The generator against a chat server: what it asks, and how it judges answers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import prompts_server
import pytest
from prompts_server import GOOD, SECRET, Reply, ask, drip, endless, fails, good, message, settings

from nand_core.prompts import instruction
from nand_core.prompts.answers import phrases_in
from nand_core.prompts.clean import usable
from nand_core.prompts.generate import foreign_names, generate_phrases
from nand_core.prompts.provide import make_prompts
from nand_core.prompts.settings import PromptSettings

llm, delays = prompts_server.llm, prompts_server.delays


def test_a_good_answer_takes_one_request(llm):
    made = ask(llm, good())
    assert made.phrases == (
        "loose thread on carpet",
        "stray fibre",
        "carpet with a thread",
        "thread lying across carpet",
    )
    assert made.tokens == {"prompt": 100, "completion": 20}
    assert llm.paths == ["/v1/chat/completions"]


def test_the_request_follows_the_paper_and_asks_for_structured_output(llm):
    ask(llm, good(), temperature=0.3, seed=5)
    (request,) = llm.requests
    assert request["model"] == "writer"
    assert (request["temperature"], request["seed"]) == (0.3, 5)
    (said,) = request["messages"]
    assert said["content"].startswith(
        "Generate concise phrases describing defects of type 'thread' in carpet.\n"
    )
    assert "Write 6 different phrases" in said["content"]
    assert request["response_format"]["json_schema"]["schema"] == instruction.SCHEMA
    assert llm.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert llm.headers[0]["Accept-Encoding"] == "identity"


def test_null_parameters_are_left_out(llm):
    ask(llm, good(), temperature=None, seed=None)
    assert not {"temperature", "seed"} & set(llm.requests[0])


def test_surplus_phrases_are_left_out(llm):
    assert len(ask(llm, good(), count=2).phrases) == 2


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_without_structured_output_is_asked_without_it(llm, status):
    refused = Reply(json.dumps({"error": {"message": "response_format is not supported"}}), status)
    fenced = Reply(message("Here they are:\n```json\n" + json.dumps({"phrases": GOOD}) + "\n```"))
    assert len(ask(llm, refused, fenced).phrases) == 4
    assert ["response_format" in request for request in llm.requests] == [True, False]


def test_the_second_request_goes_without_structured_output_too(llm):
    refused = Reply("{}", 400)
    assert len(ask(llm, refused, good(GOOD[:2]), good(GOOD[2:])).phrases) == 4
    assert ["response_format" in request for request in llm.requests] == [True, False, False]


def test_an_answer_without_usage_is_taken(llm):
    body = json.dumps({"choices": [{"message": {"content": json.dumps({"phrases": GOOD})}}]})
    assert ask(llm, Reply(body)).tokens is None


@pytest.mark.parametrize("size", [10 * 1024 * 1024, None])
def test_an_answer_of_10_mb_or_without_end_is_cut_off(llm, delays, size):
    text = fails(llm, Reply(b"x" * size) if size else Reply(act=endless))
    assert "sent more than 512 KiB" in text
    assert len(llm.requests) == 1


def test_an_error_of_10_mb_is_cut_off(llm, delays):
    assert "sent more than 512 KiB" in fails(llm, Reply(b"x" * 10 * 1024 * 1024, 500))
    assert len(llm.requests) == 1


def test_an_answer_that_drips_is_a_timeout(llm, delays):
    assert "gave no answer within 0.3 s in 1 try" in fails(llm, Reply(act=drip), timeout=0.3, max_retries=0)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<html>It works!</html>", "<html>It works!</html>"),
        ("[" * 100_000, "[[[["),
        ('{"choices": []}', '{"choices": []}'),
        ('{"choices": [{"message": null}]}', "null"),
        (message(None), "assistant"),
        (message(["parts"]), "parts"),
        (message("I made you a poem"), "'I made you a poem'"),
        (message('{"phrases": ["thread'), "thread"),
        (message('{"phrases": "thread"}'), "thread"),
        (message('{"phrases": [1, null, {"a": 2}]}'), "null"),
        (message('{"words": ["loose thread"]}'), "words"),
    ],
)
def test_an_answer_of_another_shape_is_asked_for_again_and_then_shown(llm, body, shown):
    text = fails(llm, Reply(body))
    assert "writer gave 0 of 4 usable phrases in two answers" in text
    assert shown in text
    assert "prompts.explicit" in text
    assert len(llm.requests) == 2


def test_a_good_answer_after_a_bad_one_is_taken(llm):
    made = ask(llm, Reply(message("not JSON")), good())
    assert len(made.phrases) == 4
    assert made.tokens == {"prompt": 200, "completion": 40}
    assert len(llm.requests) == 2


def test_too_few_phrases_are_asked_for_once_more_and_kept(llm):
    made = ask(llm, good(["loose thread", "loose thread", "LOOSE THREAD."]), good(GOOD))
    assert made.phrases == ("loose thread", "loose thread on carpet", "stray fibre", "carpet with a thread")
    roles = [said["role"] for said in llm.requests[1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert "Of your answer, 1 phrases can be used. Write 5 other" in llm.requests[1]["messages"][2]["content"]


def test_too_few_or_repeated_phrases_twice_are_an_error(llm):
    text = fails(llm, good(["loose thread"] * 4), good(["A loose thread.", "string"]))
    assert "gave 2 of 4 usable phrases in two answers" in text
    assert "string" in text
    assert len(llm.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Reply(message(None, refusal="I cannot\nhelp with that.")),
        Reply(message("", refusal="I cannot help with that.")),
    ],
)
def test_a_refusal_is_shown_at_once(llm, answer):
    assert "writer refused: 'I cannot help with that.'" in fails(llm, answer)
    assert len(llm.requests) == 1


def test_a_content_filter_is_a_refusal(llm):
    body = json.dumps({"choices": [{"finish_reason": "content_filter", "message": {"content": ""}}]})
    assert "refused: 'its content filter stopped" in fails(llm, Reply(body))


def test_phrases_with_template_text_and_other_names_are_rejected(llm):
    bad = [
        "a photo of a thread",
        "picture of a thread",
        "thread on wood",
        "hole in carpet",
        "holes",
        "wooden cut",
    ]
    made = ask(llm, good([*bad, *GOOD]), names=("wood", "tile", "hole"))
    assert made.phrases == ("wooden cut", *(p.lower().rstrip(".") for p in GOOD[:3]))
    assert len(llm.requests) == 1


def test_make_prompts_checks_the_data_sets_names_and_records_the_source(llm):
    llm.replies = [good(["thread on wood", "hole in carpet", "metal", *GOOD])]
    given = PromptSettings(provider="openai", phrases=4, openai=settings(llm, seed=3))
    known = {"carpet": ["thread", "hole"], "wood": ["metal"]}
    now = datetime(2024, 7, 29, 9, 0, 30, tzinfo=timezone(timedelta(hours=9)))
    made = make_prompts("carpet", "thread", given, now=now, known=known)
    record = json.loads(made.model_dump_json())
    assert record["phrases"][0] == "metal"
    assert len(record["phrases"]) == 4
    assert (record["provider"], record["model"], record["instruction"]) == ("openai", "writer", "v1")
    assert record["parameters"] == {
        "phrases": 4,
        "base_url": given.openai.base_url,
        "temperature": 0.7,
        "seed": 3,
    }
    assert record["tokens"] == {"prompt": 100, "completion": 20}
    assert record["time"] == "2024-07-29T00:00:30+00:00"


def test_phrases_that_mean_any_damage_are_rejected(llm):
    made = ask(llm, good(["damaged carpet", "carpet with defects", *GOOD]))
    assert made.phrases[0] == "loose thread on carpet"
    llm.replies = [good(["broken bottle", "damaged bottle", "bottle with a broken rim"])]
    found = generate_phrases("bottle", "broken", 2, settings(llm))
    assert found.phrases == ("broken bottle", "bottle with a broken rim")


def test_own_words_are_never_foreign():
    assert foreign_names(["nut", "metal"], "metal nut bent") is None
    pattern = foreign_names(["", "glue_strip", "crack"], "tile oil")
    assert pattern.search("tile with glue strips")
    assert not pattern.search("cracked tile")


JSON = json.dumps({"phrases": GOOD})
DRAFT = '{"phrases": ["first phrase", "second phrase"]}'
LINES = [f"{number}. {phrase}" for number, phrase in enumerate(GOOD, start=1)]


@pytest.mark.parametrize(
    "content",
    [
        f"<think>Hm, {DRAFT} or [\"thread\"]?</think>\n{JSON}",
        f"The user wants {{JSON}} such as {DRAFT}.\n</think>\n\n{JSON}",
        f'The form is {DRAFT}. A 5" thread [see above] is {{odd}}. So: {JSON}',
        f"{JSON}\nI kept to the form {{...}} [as asked].",
        JSON + JSON,
        f"{JSON}\n\n```json\n{JSON}\n```",
        json.dumps(GOOD),
        f"Sure!\n```json\n{json.dumps(GOOD, indent=2)}\n```",
        JSON.replace("]}", ",]}"),
        JSON.replace("]}", ",\n ],\n}"),
        json.dumps({"answer": {"phrases": GOOD}}),
        json.dumps({"phrases": [{"phrase": one} for one in GOOD]}),
        "\n".join(LINES),
        "Here they are:\n\n" + "\n".join(line.replace(".", ")", 1) for line in LINES) + "\n\nShall I go on?",
        "\n".join(f"- {one}" for one in GOOD),
        "\n".join(f"* **{one}**" for one in GOOD),
        "\n".join(f"{number}. **{one}**: as seen from above" for number, one in enumerate(GOOD, start=1)),
        "\n".join(f"{number}. `{one}`" for number, one in enumerate(GOOD, start=1)),
        f"<think>\n1. read it\n2. answer\n</think>\n{json.dumps([f'**{one}**' for one in GOOD])}",
    ],
)
def test_phrases_are_read_however_a_model_writes_them_down(content):
    assert usable(phrases_in(content)) == usable(GOOD)


MARKS = ["\u2014 ", "\u2010 ", "\u2023 ", "\u25e6 ", "+ ", "\u2022", "({}) ", "[{}] ", "#{} ", "{}: ", "{} - ", "{}.",
         "{}\\. ", "**{}.** ", "{}\uff09", "{}\ufe0f\u20e3 ", "Phrase {}: ", "- [ ] ", "> - ", "\u2705 "]  # fmt: skip
OTHERS = ["loose thread on carpet", "stray fibre", "carpet with thread", "thread lying across carpet"]


@pytest.mark.parametrize(
    "content",
    [
        *("\n".join(mark.format(i) + one for i, one in enumerate(OTHERS, 1)) for mark in MARKS),
        *("\n".join(f"- {one}{said}" for one in OTHERS) for said in (": from above", " \u2014 from above", " (seen)")),
        "```\n" + "\n".join(OTHERS) + "\n```",
        "Phrases: " + ", ".join(OTHERS),
        "| # | phrase |\n|---|---|\n" + "\n".join(f"| {i} | {one} |" for i, one in enumerate(OTHERS)),
        "<ul>" + "".join(f"<li>{one}</li>" for one in OTHERS) + "</ul>",
        f"phrases = {OTHERS!r}",
        str({"phrases": OTHERS}),
        ", ".join(f"\u201c{one}\u201d" for one in OTHERS),
        '{"phrases": [\n' + ",\n".join(f'"{one}" // {i}' for i, one in enumerate(OTHERS)) + "\n]}",
        json.dumps([*OTHERS, "cut of"])[:-2],
        json.dumps({"phrases": OTHERS}).replace(" ", "\u00a0"),
        json.dumps({"Phrases": [[one] for one in OTHERS]}),
        json.dumps({"items": [{"id": i, "phrase": one} for i, one in enumerate(OTHERS)]}),
        json.dumps({f"phrase_{i}": one for i, one in enumerate(OTHERS)}),
        json.dumps({"arguments": json.dumps({"phrases": OTHERS})}),
        "\n".join(json.dumps({"phrase": one}) for one in OTHERS),
        f"[THINK]{json.dumps([*OTHERS, 'a', 'b'])}[/THINK]{json.dumps(OTHERS)}",
        f"<thought a='b'>{json.dumps([*OTHERS, 'a', 'b'])}</thought>{json.dumps(OTHERS)}",
        json.dumps([f"({i}) \u00ab{one}\u00bb" for i, one in enumerate(OTHERS, 1)]),
    ],
)
def test_other_marks_quotes_and_shapes_are_read_too(content):
    assert usable(phrases_in(content)) == OTHERS


NO_LISTS = ["", "[" * 100_000, '{"a":' * 100_000, "['a" * 50_000, "<think>[1, 2]", "1. only one", "{}", "[]",
            '{"normal": ["a b", "c d"], "broken": ["e f", "g h"]}', "I am sorry.\nI cannot do that.\nAsk me again.",
            '{"type": "object", "required": ["phrases"]}']  # fmt: skip


@pytest.mark.parametrize("content", NO_LISTS)
def test_what_is_no_list_of_phrases_gives_none(content):
    assert phrases_in(content) == []


def test_an_answer_in_parts_is_their_text(llm):
    parts = [{"type": "text", "text": part} for part in (JSON[:30], JSON[30:])]
    assert len(ask(llm, Reply(message(parts))).phrases) == 4
