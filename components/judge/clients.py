"""Who answers: an OpenAI-compatible server, or a preset in this process; and the cache of what was answered."""

import abc
import contextlib
import hashlib
import json
import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import anyio
import httpx
import tenacity
from anyio.from_thread import BlockingPortal, start_blocking_portal
from tfx.dsl.io import fileio

from components.errors import UserError
from components.metrics.judge import Judge

# Answers for which it is worth to wait and ask again.
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT_S = 60.0
_MOST_BYTES = 4 << 20


class _Reply(NamedTuple):
    status: int
    content: bytes
    retry_after: str | None
    url: str


class _Connection:
    """Posts to an endpoint from any thread. Each reply is short and comes in time, whatever the server sends.

    The time is that of the whole exchange, for which httpx has no setting: its timeouts begin again with each read.
    """

    def __init__(self, client: httpx.AsyncClient, portal: BlockingPortal, seconds: float):
        self._client, self._portal, self._seconds = client, portal, seconds

    def post(self, path: str, body: dict[str, Any]) -> _Reply:
        """Returns the reply.

        Raises:
            UserError: It is too long.
            _PassingError: It takes too long, or the server cannot be reached.
        """
        try:
            return self._portal.call(self._read, path, body)
        except TimeoutError:
            raise _PassingError(f"no whole answer within {self._seconds:g} s") from None
        except httpx.RequestError as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from error

    async def _read(self, path: str, body: dict[str, Any]) -> _Reply:
        with anyio.fail_after(self._seconds):
            async with self._client.stream("POST", path, json=body) as response:
                if (packing := response.headers.get("content-encoding", "identity")) != "identity":
                    raise UserError(
                        f"an answer of the judge's endpoint must not be compressed: that is asked for. Received: {packing[:50]}, from "
                        f"{response.url}. Check `endpoint`."
                    )
                content = b""
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > _MOST_BYTES:
                        raise UserError(
                            f"an answer of the judge's endpoint must be smaller than {_MOST_BYTES >> 20} MiB. Received: more, from "
                            f"{response.url}. Check `endpoint`."
                        )
                return _Reply(response.status_code, content, response.headers.get("retry-after"), str(response.url))


class Client(abc.ABC):
    """Answers questions."""

    @abc.abstractmethod
    def answer(self, questions: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yields the place of each question with its reply, in the order in which they come.

        Raises:
            UserError: A reply cannot be had.
        """


class EndpointClient(Client):
    """Asks an OpenAI-compatible server (`/chat/completions`), several questions at a time.

    The key is read from the environment when it is made, and stands in the header of requests alone: not in errors, logs or the
    cache.
    """

    def __init__(self, judge: Judge, wait: Any = None):
        """Sets it up.

        Args:
            judge: Whom to ask, and how.
            wait: How long to wait before a question is asked again, as tenacity knows it; for tests.

        Raises:
            UserError: The key is not in the environment.
        """
        self._judge = judge
        self._key = ""
        # Unpacked, a few bytes could be gigabytes before they are counted.
        self._headers = {"Accept-Encoding": "identity"}
        if judge.api_key_env is not None:
            key = os.environ.get(judge.api_key_env)
            if not key:
                raise UserError(
                    f"the environment variable {judge.api_key_env} must hold the key of the judge's endpoint. It is not set. "
                    "Set it, or set `api_key_env: null` if the endpoint needs none."
                )
            if not key.isascii() or not key.isprintable() or " " in key:
                raise UserError(
                    f"the environment variable {judge.api_key_env} must hold a key of printable ASCII characters without blanks. It "
                    "holds others, perhaps the end of a line. (It is not shown here.)"
                )
            self._key = key
            self._headers["Authorization"] = f"Bearer {key}"
        self._wait = wait or _wait
        self._cost = 0.0
        self._lock = threading.Lock()

    def answer(self, questions: Sequence[str]) -> Iterator[tuple[int, str]]:
        """See `Client`."""
        with self._connect() as connection, ThreadPoolExecutor(self._judge.concurrency) as pool:
            places = {pool.submit(self._answer, connection, text): place for place, text in enumerate(questions)}
            try:
                for future in as_completed(places):
                    yield places[future], future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[_Connection]:
        client = httpx.AsyncClient(
            base_url=str(self._judge.endpoint), headers=self._headers, timeout=None, follow_redirects=False
        )
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
            yield _Connection(client, portal, self._judge.timeout_seconds)

    def _answer(self, connection: _Connection, question: str) -> str:
        retry = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._judge.retries + 1),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(_PassingError),
            reraise=True,
        )
        try:
            return retry(self._ask, connection, question)
        except _PassingError as error:
            raise UserError(
                f"the judge's endpoint must answer. {self._judge.retries + 1} attempts ended with: {error}. Try again later: "
                "what was answered is kept."
            ) from error

    def _ask(self, connection: _Connection, question: str) -> str:
        self._check_cost()
        body = {
            "model": self._judge.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": self._judge.max_new_tokens,
        }
        reply = connection.post("chat/completions", body)
        if reply.status in _PASSING:
            raise _PassingError(f"status {reply.status}", _read_seconds(reply.retry_after))
        if reply.status != httpx.codes.OK:
            raise UserError(
                f"the judge's endpoint must accept requests. Received: status {reply.status}, {self._show(reply)!r}, "
                f"from {reply.url}. Check `endpoint`, `model` and the key in {self._judge.api_key_env}."
            )
        try:
            content = json.loads(reply.content)
            text = content["choices"][0]["message"]["content"] or ""
            usage = content.get("usage")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"the judge's endpoint must answer as OpenAI's chat completions do. Received: {self._show(reply)!r}, from "
                f"{reply.url}. Check `endpoint`: it ends where /chat/completions begins."
            ) from error
        self._add_cost(usage)
        return str(text)

    def _show(self, reply: _Reply) -> str:
        return self._mask(reply.content.decode("utf-8", "replace"))

    def _mask(self, text: str) -> str:
        return (text.replace(self._key, "***") if self._key else text)[:300]

    def _check_cost(self) -> None:
        if self._judge.max_cost is not None and self._cost >= self._judge.max_cost:
            raise UserError(
                f"the judge may cost {self._judge.max_cost:g} (`max_cost`), and has cost {self._cost:.4g}. What was answered is "
                "kept: raise `max_cost` to go on."
            )

    def _add_cost(self, usage: Any) -> None:
        prices = self._judge.price_per_million_tokens
        if prices is None:
            return
        given = [
            usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")
        ]
        counts = [count if _is_count(count) else None for count in given]
        if self._judge.max_cost is not None and None in counts:
            raise UserError(
                f"the judge's endpoint must say in `usage` how many tokens it has read and written, or `max_cost` cannot be kept. "
                f"Received: {self._mask(repr(usage))}. Leave `max_cost` out, and rely on `max_requests`."
            )
        with self._lock:
            self._cost += sum(price * (count or 0) for price, count in zip(prices, counts, strict=True)) / 1e6


class PresetClient(Client):
    """Asks a KerasHub preset in this process, greedily."""

    def __init__(self, judge: Judge):
        """Loads it.

        Raises:
            UserError: It cannot be loaded.
        """
        from components.local_copies import local_preset
        from components.text.model_tokenizer import load_tokenizer
        from components.trainer.model import read_max_positions
        from components.trainer.model_card import count_positions, fit_prompt
        from components.trainer.served_functions import load_preset_functions

        positions = count_positions(read_max_positions(str(judge.preset)))
        text = {"template": "plain", "system": "", "max_length": positions}
        generation = {"max_new_tokens": min(judge.max_new_tokens, positions - 2)}
        model = {"preset": str(judge.preset), "dtype": "float32"}
        self._complete = load_preset_functions(model, text, generation)["serving_default"]
        with local_preset(str(judge.preset), with_weights=False) as folder:
            self._tokenizer = load_tokenizer(folder)
        self._room = fit_prompt(positions, text, generation)

    def answer(self, questions: Sequence[str]) -> Iterator[tuple[int, str]]:
        """See `Client`. What is too long for the model would lose its beginning, which says what to grade by: it gets no reply."""
        import tensorflow as tf

        from components.text.model_tokenizer import list_special_tokens
        from components.text.record_cleaning import neutralize

        # As they are asked: special tokens that a question spells out become several.
        asked = [neutralize(question, list_special_tokens(self._tokenizer))[0] for question in questions]
        fitting = [place for place, question in enumerate(asked) if len(self._tokenizer(question)) < self._room]
        if len(fitting) < len(questions):
            logging.warning(
                "%d of %d questions are longer than the %d tokens that the judge has room for: they count as unreadable.",
                len(questions) - len(fitting),
                len(questions),
                self._room,
            )
        texts = [questions[place] for place in fitting]
        replies = self._complete(prompt=tf.constant(texts))["completion"].numpy() if texts else ()
        found = {place: text.decode("utf-8", "replace") for place, text in zip(fitting, replies, strict=True)}
        yield from ((place, found.get(place, "")) for place in range(len(questions)))


class CachedClient:
    """Remembers replies in files, one a question: a run that is repeated or goes on does not pay twice."""

    def __init__(self, client: Client, folder: str, identity: str):
        """Sets it up.

        Args:
            client: Who answers what is not remembered.
            folder: Where the files are; one for all judges.
            identity: Of the judge: what another judge would answer differently.
        """
        self._client = client
        self._folder = folder
        self._identity = identity
        fileio.makedirs(folder)

    def answer(self, questions: Sequence[str]) -> list[str]:
        """Returns the reply to each question. What was answered before an error is remembered.

        Raises:
            UserError: A reply cannot be had.
        """
        paths = {question: self._locate(question) for question in questions}
        replies = {question: reply for question, path in paths.items() if (reply := _read(path)) is not None}
        missing = [question for question in paths if question not in replies]
        for place, reply in self._client.answer(missing) if missing else ():
            replies[missing[place]] = reply
            _write(paths[missing[place]], reply)
        logging.info("Judge: %d of %d replies from the cache.", len(paths) - len(missing), len(paths))
        return [replies[question] for question in questions]

    def _locate(self, question: str) -> str:
        key = hashlib.sha256(f"{self._identity}\0{question}".encode()).hexdigest()
        return os.path.join(self._folder, f"{key}.json")


def make_client(judge: Judge, cache: str) -> CachedClient:
    """Returns who answers for a judge.

    Args:
        judge: The metric.
        cache: Folder of what was answered.
    """
    client: Client = EndpointClient(judge) if judge.endpoint is not None else PresetClient(judge)
    identity = [judge.endpoint, judge.preset, judge.model, judge.max_new_tokens]
    return CachedClient(client, cache, json.dumps(identity))


# Of one answer: more is a server's mistake.
_MOST_TOKENS = 10**9


class _PassingError(Exception):
    """What may be otherwise a moment later; `seconds` is what the server asks for."""

    def __init__(self, message: str, seconds: float | None = None):
        self.seconds = seconds
        super().__init__(message)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, _PassingError) else None
    if asked is not None:
        return min(asked, _LONGEST_WAIT_S)
    return tenacity.wait_random_exponential(multiplier=1, max=_LONGEST_WAIT_S)(state)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def _read_seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text else math.nan
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _read(path: str) -> str | None:
    if not fileio.exists(path):
        return None
    try:
        with fileio.open(path, "r") as file:
            return str(json.loads(file.read())["reply"])
    except (ValueError, KeyError, TypeError):
        return None  # damaged: asked again


def _write(path: str, reply: str) -> None:
    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}"
    with fileio.open(temporary, "w") as file:
        file.write(json.dumps({"reply": reply}))
    fileio.rename(temporary, path, overwrite=True)
