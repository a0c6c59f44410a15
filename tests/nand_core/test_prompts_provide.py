from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from nand_core.errors import NandError
from nand_core.prompts import instruction
from nand_core.prompts.curated import curated_phrases
from nand_core.prompts.openai_client import KEY
from nand_core.prompts.provide import (
    NONSENSE_WORDS,
    PromptSet,
    choose_provider,
    make_prompts,
    nonsense_phrases,
    prompt_key,
)
from nand_core.prompts.rules import rule_phrases
from nand_core.prompts.settings import PromptSettings
from nand_core.vlm.settings import EncoderSettings
from nand_core.vlm.tokenizers import load_tokenizer, unknown_words

NOW = datetime(2024, 7, 29, 12, 0, 30, 999, tzinfo=UTC)
SECRET = "sk-a-key-for-tests-0123456789"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)


def settings(**given) -> PromptSettings:
    return PromptSettings.model_validate(given)


def test_auto_takes_explicit_then_curated_then_openai_then_rules(monkeypatch):
    explicit = settings(explicit={"carpet": {"thread": ["a Loose thread."]}})
    assert choose_provider("carpet", "thread", explicit) == "explicit"
    assert choose_provider("carpet", "hole", explicit) == "curated"
    assert choose_provider("carpet", "coffee", explicit) == "rules"
    monkeypatch.setenv(KEY, "  ")
    assert choose_provider("carpet", "coffee", explicit) == "rules"
    monkeypatch.setenv(KEY, SECRET)
    assert choose_provider("carpet", "coffee", explicit) == "openai"
    assert choose_provider("carpet", "hole", explicit) == "curated"


def test_a_named_provider_is_taken_and_explicit_phrases_still_win():
    explicit = {"carpet": {"thread": ["loose thread"]}}
    for provider in ("curated", "rules", "openai"):
        chosen = settings(provider=provider, explicit=explicit)
        assert choose_provider("carpet", "thread", chosen) == "explicit"
        assert choose_provider("carpet", "hole", chosen) == provider


def test_the_curated_bank_alone_refuses_what_it_lacks():
    with pytest.raises(NandError, match="has no carpet/tread; did you mean 'thread'"):
        make_prompts("carpet", "tread", settings(provider="curated"), now=NOW)
    with pytest.raises(NandError, match="has no carpets/thread; did you mean 'carpet'"):
        prompt_key("carpets", "thread", settings(provider="curated"))


def test_explicit_phrases_are_cleaned_and_all_taken():
    given = settings(phrases=1, explicit={"carpet": {"thread": ["A Loose  thread.", "fibre", "fibre"]}})
    made = make_prompts("carpet", "thread", given, now=NOW)
    assert made.phrases == ("loose thread", "fibre")
    assert made.provider == "explicit"


def test_curated_and_rules_give_the_number_asked():
    curated = make_prompts("carpet", "thread", settings(phrases=3), now=NOW)
    assert curated.phrases == curated_phrases("carpet", "thread")[:3]
    assert make_prompts("carpet", "thread", settings(phrases=64), now=NOW).phrases == curated_phrases(
        "carpet", "thread"
    )
    rules = make_prompts("carpet", "loose fibre", settings(phrases=20), now=NOW)
    assert rules.phrases == rule_phrases("carpet", "loose fibre", 20)
    assert len(rules.phrases) == 20


@pytest.mark.parametrize("class_name", ["carpet", "metal_nut"])
def test_the_nonsense_is_said_like_a_normality_and_means_no_defect(class_name):
    phrases = nonsense_phrases(class_name)
    assert f"blorft on {class_name.replace('_', ' ')}" in phrases
    assert len(set(phrases)) == len(phrases) == 3 * len(NONSENSE_WORDS)
    said = {word for phrase in phrases for word in phrase.split()}
    assert said == {*NONSENSE_WORDS, *class_name.split("_"), "on", "with", "a"}
    unknown = unknown_words(load_tokenizer(EncoderSettings()), " ".join(phrases))
    assert set(NONSENSE_WORDS) <= set(unknown)


def test_the_record_is_json_and_comes_back_the_same():
    made = make_prompts("carpet", "thread", settings(), now=NOW)
    record = json.loads(made.model_dump_json())
    assert record == {
        "class": "carpet",
        "group": "thread",
        "phrases": list(curated_phrases("carpet", "thread")),
        "provider": "curated",
        "model": None,
        "instruction": None,
        "parameters": {"phrases": 8},
        "time": None,  # the same bytes at any time
        "tokens": None,
    }
    assert PromptSet.model_validate_json(made.model_dump_json()) == made


def test_the_choice_is_logged(caplog):
    with caplog.at_level("INFO", "nand_core.prompts"):
        make_prompts("carpet", "thread", settings(), now=NOW)
    assert "carpet/thread: 8 phrases from curated" in caplog.text


def test_a_key_is_plain_json_and_follows_its_own_group_alone():
    def key(group, **given):
        return json.dumps(prompt_key("carpet", group, settings(**given)), sort_keys=True)

    before = key("thread")
    assert key("thread", explicit={"carpet": {"hole": ["moth hole"]}}) == before
    assert key("thread", explicit={"wood": {"thread": ["hair"]}}) == before
    assert key("thread", explicit={"carpet": {"thread": ["hair"]}}) != before
    assert key("thread", phrases=7) != before
    assert key("hole") != before
    assert key("thread", openai={"model": "other", "temperature": 0.1}) == before
    hair = key("thread", explicit={"carpet": {"thread": ["hair"]}})
    assert key("thread", phrases=7, explicit={"carpet": {"thread": [" HAIR. "]}}) == hair


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"phrases": 9}, False),
        ({"openai": {"model": "other"}}, False),
        ({"openai": {"temperature": 0.1}}, False),
        ({"openai": {"temperature": None}}, False),
        ({"openai": {"seed": 1}}, False),
        ({"openai": {"base_url": "http://127.0.0.1:1/v1"}}, False),
        ({"openai": {"timeout": 1, "max_retries": 0, "concurrency": 1}}, True),
        ({"explicit": {"carpet": {"hole": ["moth hole"]}}}, True),
    ],
)
def test_a_generated_groups_key_holds_what_determines_the_answer(change, same, monkeypatch):
    before = prompt_key("carpet", "coffee", settings(provider="openai"))
    monkeypatch.setenv(KEY, SECRET)
    after = prompt_key("carpet", "coffee", settings(provider="openai", **change))
    assert (after == before) is same
    assert SECRET not in json.dumps(after)


def test_a_changed_instruction_changes_the_key_of_generated_groups_alone(monkeypatch):
    generated, curated = settings(provider="openai"), settings()
    before = prompt_key("carpet", "thread", generated), prompt_key("carpet", "thread", curated)
    monkeypatch.setattr(instruction, "template", lambda: "Describe $group in $object.\n---\nAgain.")
    assert prompt_key("carpet", "thread", generated) != before[0]
    assert prompt_key("carpet", "thread", curated) == before[1]


def test_no_provider_but_openai_imports_its_package():
    code = (
        "import sys\n"
        "from nand_core.prompts.provide import *\n"
        "make_prompts('carpet', 'coffee', PromptSettings(), now=datetime.now(UTC))\n"
        "prompt_key('carpet', 'coffee', PromptSettings(provider='openai'))\n"
        "assert not {'openai', 'httpx2', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"provider": "gpt"}, "provider"),
        ({"phrases": 0}, "phrases"),
        ({"phrases": 65}, "phrases"),
        ({"explicit": {"carpet": {"thread": "loose thread"}}}, "explicit.carpet.thread"),
        (
            {"explicit": {"carpet": {"thread": ["{}"]}}},
            r"carpet\.thread: the phrase '\{\}' has the character",
        ),
        ({"explicit": {"carpet": {"thread": []}}}, r"carpet\.thread: no phrase given"),
        ({"openai": {"api_key": SECRET}}, "openai.api_key"),
        ({"openai": {"base_url": f"https://me:{SECRET}@host/v1"}}, "must hold no user"),
        ({"openai": {"base_url": f"https://host/v1?key={SECRET}"}}, "must hold no user"),
        ({"openai": {"base_url": "host/v1"}}, "must be an address such as"),
        ({"openai": {"base_url": "http://host:99999/v1"}}, "Port out of range"),
        ({"openai": {"timeout": 0}}, "timeout"),
    ],
)
def test_bad_settings_are_refused_and_never_shown(given, message):
    with pytest.raises(ValidationError, match=message) as error:
        settings(**given)
    assert SECRET not in str(error.value)


def test_settings_take_an_address_with_or_without_a_closing_slash():
    assert settings(openai={"base_url": "http://host/v1/"}) == settings(openai={"base_url": "http://host/v1"})
