"""Chat completions from an OpenAI-compatible endpoint: retries, limits, and a key that shows up nowhere."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from pydantic import SecretStr

from nand_core.errors import NandError
from nand_core.prompts.settings import OpenAISettings

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai.types.chat import ChatCompletionMessageParam

    Messages = list[ChatCompletionMessageParam]

KEY = "OPENAI_API_KEY"
#: An answer is a few kB, with a model's reasoning a few hundred; more is cut off while it arrives.
MAX_ANSWER_BYTES = 512 * 1024
#: A shorter key is no secret but a word such as "none" for a server that wants any; answers may hold it.
MIN_SECRET = 8


class _TooLong(Exception):
    pass


@dataclass(frozen=True)
class Answer:
    """``content`` is None where the server sent no message; ``shown`` is a short excerpt for people."""

    content: str | None
    refusal: str | None
    shown: str
    tokens: dict[str, int] | None


def api_key() -> SecretStr | None:
    """The key in the environment variable OPENAI_API_KEY; None if it is not set or blank."""
    key = os.environ.get(KEY, "").strip()
    return SecretStr(key) if key else None


class Chat:
    """One conversation's way to the server; :func:`open_chat` makes it. ``where`` begins every error."""

    def __init__(self, client: openai.OpenAI, key: SecretStr, settings: OpenAISettings, where: str) -> None:
        self._client, self._key, self._settings, self._where = client, key, settings, where
        self._structured = True

    def ask(self, messages: Messages, schema: dict[str, object]) -> Answer:
        """The answer to ``messages``; a server that refuses structured output (400, 422) is asked without it.

        Time-outs, broken connections and the statuses 408, 409, 429 and 5xx are tried again with growing
        delays, or after the Retry-After of up to two minutes that the server names.
        """
        if self._structured:
            try:
                return self._request(messages, schema)
            except _Unprocessable:
                self._structured = False
        return self._request(messages, None)

    def _request(self, messages: Messages, schema: dict[str, object] | None) -> Answer:
        import openai

        settings = self._settings
        options: dict[str, Any] = {"temperature": settings.temperature, "seed": settings.seed}
        if schema is not None:
            named = {"name": "answer", "strict": True, "schema": schema}
            options["response_format"] = {"type": "json_schema", "json_schema": named}
        given = {name: value for name, value in options.items() if value is not None}
        try:
            raw = self._client.chat.completions.with_raw_response.create(
                model=settings.model, messages=messages, **given
            )
        except (openai.OpenAIError, _TooLong) as error:
            failure = NandError(f"{self._where}: {settings.base_url} {_explain(error, settings, self._hide)}")
            if schema is not None and getattr(error, "status_code", None) in (400, 422):
                failure = _Unprocessable(str(failure))
        else:
            return _answer(self._hide(raw.http_response.text))
        # Outside of the handler: the library's exception holds the request with its Authorization header.
        raise failure

    def _hide(self, text: str) -> str:
        key = self._key.get_secret_value()
        return text.replace(key, "[key]") if len(key) >= MIN_SECRET else text


class _Unprocessable(NandError):
    pass


@contextmanager
def open_chat(settings: OpenAISettings, where: str) -> Iterator[Chat]:
    """A :class:`Chat` that waits for one of the process's ``settings.concurrency`` places at this endpoint.

    Raises NandError if the key is missing or cannot be sent.
    """
    key = api_key()
    if key is None:
        raise NandError(
            f"{where}: the provider openai needs a key; set the environment variable {KEY} "
            "(to any text for a server that wants none)"
        )
    if not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
        raise NandError(f"{where}: {KEY} has characters that no key can have; set it again")
    import openai

    with (
        _places(settings.base_url, settings.concurrency),
        # No redirects: the key goes to base_url alone. No compression: its size could not be bounded.
        openai.DefaultHttpxClient(
            event_hooks={"response": [lambda response: _bound(response, settings.timeout)]},
            headers={"Accept-Encoding": "identity"},
            follow_redirects=False,
        ) as http_client,
    ):
        client = openai.OpenAI(
            api_key=key.get_secret_value(),
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            http_client=http_client,
        )
        yield Chat(client, key, settings, where)


@cache
def _places(base_url: str, concurrency: int) -> threading.BoundedSemaphore:
    """Shared by all threads: that is what makes the limit one of the process."""
    return threading.BoundedSemaphore(concurrency)


def _bound(response: httpx2.Response, timeout: float) -> None:
    """Stop the body with an error once it is too long or takes longer than ``timeout`` seconds."""
    import httpx2

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in stream:
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise _TooLong
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the answer goes on for too long", request=response.request)
                yield chunk

        def close(self) -> None:
            stream.close()

    # A synchronous client's responses have no other.
    stream, deadline = cast("httpx2.SyncByteStream", response.stream), time.monotonic() + timeout
    response.stream = Bounded()


def _explain(error: Exception, settings: OpenAISettings, hide: Callable[[str], str]) -> str:
    """What went wrong, after how many tries, and what to do; ``hide`` takes the key out of foreign text."""
    import openai

    if isinstance(error, _TooLong):
        return f"sent more than {MAX_ANSWER_BYTES // 1024} KiB; check prompts.openai.base_url and model"
    request = getattr(error, "request", None)
    tries = 1 + int(request.headers.get("x-stainless-retry-count", 0)) if request is not None else 1
    times = f"in {tries} tries" if tries > 1 else "in 1 try"
    if isinstance(error, openai.APITimeoutError):
        return f"gave no answer within {settings.timeout:g} s {times}; raise prompts.openai.timeout"
    if isinstance(error, openai.APIConnectionError):
        reason = shorten(hide(str(error.__cause__ or error)))
        return f"cannot be reached {times} ({reason}); check prompts.openai.base_url"
    if not isinstance(error, openai.APIStatusError):
        return f"failed: {shorten(hide(str(error)))}"
    wait = error.response.headers.get("retry-after")
    asked = f", Retry-After {shorten(hide(wait), 30)}" if wait else ""
    hint = {
        400: "check prompts.openai (temperature and seed may be null)",
        401: f"check the key in {KEY}",
        403: f"check the key in {KEY}",
        404: f"check prompts.openai.base_url and model {settings.model!r}",
        429: "lower prompts.openai.concurrency or try later",
    }.get(error.status_code, "try later or check prompts.openai")
    said = shorten(hide(error.response.text))
    return f"answered with status {error.status_code}{asked} {times} ({said}); {hint}"


def _answer(body: str) -> Answer:
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        filtered = choice.get("finish_reason") == "content_filter"
        usage = data.get("usage")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Answer(None, None, shorten(body), None)
    if isinstance(content, list):  # of parts; what is no text has none
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str)) or None
    content = content if isinstance(content, str) else None
    if filtered and not refusal:
        refusal = "its content filter stopped the answer"
    refusal = shorten(str(refusal)) if refusal else None
    return Answer(content, refusal, shorten(body if content is None else content), _tokens(usage))


def _tokens(usage: object) -> dict[str, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = {name: usage.get(f"{name}_tokens") for name in ("prompt", "completion")}
    return {name: n for name, n in counts.items() if isinstance(n, int)} or None


def shorten(text: str, length: int = 200) -> str:
    """One printable line of at most ``length`` characters."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text[: 4 * length].split()))
    return line if len(line) <= length else line[:length] + "..."
