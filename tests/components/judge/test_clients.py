"""A judge's endpoint, by a server on this machine that answers as one would: well, slowly, badly, or not at all."""

import gzip
import itertools
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tenacity

from components.errors import UserError
from components.judge import clients
from components.judge.clients import CachedClient, EndpointClient, make_client
from components.metrics.judge import Judge

KEY = "sk-very-secret"


class Server:
    """Replies by a function from the request's body and its number to (status, headers, content)."""

    def __init__(self):
        self.requests, self.headers = [], []
        self.pause = threading.Event()
        self.reply = lambda body, number: (200, {}, complete("ok"))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(body)
                outer.headers.append((self.path, dict(self.headers)))
                status, headers, content = outer.reply(body, len(outer.requests))
                data = content.encode() if isinstance(content, str) else content
                length = {"content-length": str(len(data))} if isinstance(data, bytes) else {}
                self.send_response(status)
                for name, value in {**headers, **length}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in [data] if isinstance(data, bytes) else (text.encode() for text in data):
                    self.wfile.write(piece)
                    self.wfile.flush()
                    outer.pause.wait(0.05 if not isinstance(data, bytes) else 0)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # a client that has given up
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def complete(text, **usage):
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage})


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def make(server, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)

    def make(**options):
        judge = Judge(
            **{"endpoint": server.endpoint, "model": "m", "api_key_env": "JUDGE_KEY", "concurrency": 1} | options
        )
        return EndpointClient(judge, wait=tenacity.wait_none())

    return make


def ask(client, *questions):
    return dict(client.answer(questions))


def test_request_is_openais(server, make):
    server.reply = lambda body, number: (200, {}, complete(body["messages"][0]["content"].upper()))
    assert ask(make(max_new_tokens=7, concurrency=4), "a", "b", "c") == {0: "A", 1: "B", 2: "C"}
    path, headers = server.headers[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization" if "authorization" in headers else "Authorization"] == f"Bearer {KEY}"
    (body,) = [request for request in server.requests if request["messages"][0]["content"] == "a"]
    assert body == {"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": 0, "max_tokens": 7}


def test_without_a_key_none_is_sent(server, make):
    ask(make(api_key_env=None), "a")
    assert "authorization" not in {name.lower() for name in server.headers[0][1]}


def test_missing_key(monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(UserError, match="NO_KEY must hold the key"):
        EndpointClient(Judge(endpoint="http://127.0.0.1:9/v1", model="m", api_key_env="NO_KEY"))


def test_what_may_pass_is_asked_again(server, make):
    server.reply = lambda body, number: (429 if number == 1 else 503 if number == 2 else 200, {}, complete("ok"))
    assert ask(make(retries=2), "a") == {0: "ok"}
    assert len(server.requests) == 3
    with pytest.raises(UserError, match="3 attempts ended with: status 429"):
        server.reply = lambda body, number: (429, {}, "")
        ask(make(retries=2), "a")


def test_server_says_how_long_to_wait(server, make):
    server.reply = lambda body, number: (429 if number == 1 else 200, {"retry-after": "0"}, complete("ok"))
    client = make()
    client._wait = clients._wait
    assert ask(client, "a") == {0: "ok"}


def test_server_that_is_too_slow(server, make):
    released = threading.Event()

    def reply(body, number):
        released.wait(20)
        return 200, {}, complete("late")

    server.reply = reply
    try:
        with pytest.raises(UserError, match=r"1 attempts ended with: no whole answer within 0\.2 s"):
            ask(make(retries=0, timeout_seconds=0.2), "a")
    finally:
        released.set()


def test_answer_without_end_is_cut_off(server, make, monkeypatch):
    monkeypatch.setattr(clients, "_MOST_BYTES", 1 << 20)
    server.reply = lambda body, number: (200, {}, "x" * (8 << 20))
    with pytest.raises(UserError, match=r"must be smaller than 1 MiB\. Received: more, from http"):
        ask(make(), "a")
    assert len(server.requests) == 1


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_answer_that_is_compressed_is_not_unpacked(server, make, packing):
    server.reply = lambda body, number: (200, {"content-encoding": packing}, gzip.compress(b"x"))
    with pytest.raises(UserError, match=rf"must not be compressed: that is asked for\. Received: {packing}, from http"):
        ask(make(), "a")
    assert server.headers[0][1]["Accept-Encoding"] == "identity"


def test_answer_that_echoes_the_key_is_masked_wherever_it_stands(server, make):
    server.reply = lambda body, number: (401, {}, "x" * 295 + KEY)
    with pytest.raises(UserError) as caught:
        ask(make(), "a")
    assert KEY[:5] not in str(caught.value)


def test_answer_that_drips_is_given_up_in_time(server, make):
    """Each piece comes in time, the whole never does."""

    def drip(body, number):
        return 200, {}, (f"{i} " for i in itertools.count())

    server.reply = drip
    with pytest.raises(UserError, match=r"no whole answer within 0\.3 s"):
        ask(make(timeout_seconds=0.3, retries=0), "a")


@pytest.mark.parametrize("kind", ["headers", "body"])
def test_what_drips_before_there_is_anything_to_read_is_given_up_in_time(make, kind):
    """A header without end, or a body of blanks: httpx itself would wait for as long as something comes."""
    pause = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            if kind == "body":
                self.wfile.write(b"\r\n")
            while not pause.wait(0.05):
                self.wfile.write(b"x: y\r\n" if kind == "headers" else b" ")

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.handle_error = lambda *_: None
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match=r"no whole answer within 0\.3 s"):
            ask(make(endpoint=f"http://127.0.0.1:{http.server_port}/v1", timeout_seconds=0.3, retries=0), "a")
    finally:
        pause.set()
        http.shutdown()
        http.server_close()


def test_server_that_is_not_there(make):
    with pytest.raises(UserError, match="ConnectError"):
        ask(make(endpoint="http://127.0.0.1:9/v1", retries=1), "a")


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (
            401,
            '{"error": "bad key"}',
            "Received: status 401, .*bad key.* Check `endpoint`, `model` and the key in JUDGE_KEY",
        ),
        (404, "nothing here", "status 404"),
        (302, "", "status 302"),
        (200, "<html>", "as OpenAI's chat completions do"),
        (200, '{"choices": []}', "as OpenAI's chat completions do"),
        (200, "[]", "as OpenAI's chat completions do"),
        (200, "[" * 100_000, "as OpenAI's chat completions do"),
    ],
)
def test_what_will_not_pass_is_not_asked_again(server, make, caplog, status, content, message):
    caplog.set_level(logging.DEBUG)
    server.reply = lambda body, number: (status, {"location": "http://127.0.0.1:9/"}, content)
    with pytest.raises(UserError, match=message) as caught:
        ask(make(), "a")
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", ""])
def test_a_time_to_wait_that_is_none(text):
    assert clients._read_seconds(text) is None


def test_cost_has_a_cap(server, make):
    server.reply = lambda body, number: (200, {}, complete("ok", prompt_tokens=1000, completion_tokens=500))
    client = make(max_cost=0.004, price_per_million_tokens=[1.0, 2.0])  # 0.002 each
    with pytest.raises(UserError, match=r"may cost 0.004 .* has cost 0.004"):
        ask(client, *"abcdef")
    assert len(server.requests) == 2


USAGES = [
    None,
    [],
    {"prompt_tokens": "1"},
    {"prompt_tokens": -1, "completion_tokens": 1},
    {"prompt_tokens": 10**400, "completion_tokens": 1},
    {"prompt_tokens": True, "completion_tokens": 1},
]


@pytest.mark.parametrize("usage", USAGES)
def test_cost_that_is_not_told(server, make, usage):
    server.reply = lambda body, number: (
        200, {}, json.dumps({"choices": [{"message": {"content": "ok"}}], "usage": usage})
    )  # fmt: skip
    assert ask(make(), "a") == {0: "ok"}
    assert ask(make(price_per_million_tokens=[1.0, 2.0]), "a") == {0: "ok"}
    with pytest.raises(UserError, match="must say in `usage` how many tokens"):
        ask(make(max_cost=1.0, price_per_million_tokens=[1.0, 2.0]), "a")


def test_answers_are_kept(server, make, tmp_path):
    failures = ["c"]

    def reply(body, number):
        question = body["messages"][0]["content"]
        return 500 if question in failures else 200, {}, complete(question.upper())

    server.reply = reply
    cached = CachedClient(make(retries=0), str(tmp_path), "judge")
    with pytest.raises(UserError, match="what was answered is kept"):
        cached.answer(["a", "b", "c", "d"])
    failures.clear()
    asked = len(server.requests)
    assert cached.answer(["b", "a"]) == ["B", "A"]
    assert len(server.requests) == asked
    assert cached.answer(["c", "c", "a"]) == ["C", "C", "A"]
    assert len(server.requests) == asked + 1
    CachedClient(make(), str(tmp_path), "another judge").answer(["a"])
    assert len(server.requests) == asked + 2
    files = list(tmp_path.iterdir())
    assert all(path.suffix == ".json" for path in files)
    assert KEY not in "".join(path.read_text() for path in files)


def test_answers_are_kept_in_a_bucket(server, make, bucket):
    server.reply = lambda body, number: (200, {}, complete(body["messages"][0]["content"].upper()))
    place = f"{bucket.url}/base/judgements"
    assert CachedClient(make(), place, "judge").answer(["a", "b"]) == ["A", "B"]
    assert len(bucket.list_files("base/judgements/")) == 2
    num_asked = len(server.requests)
    assert CachedClient(make(), place, "judge").answer(["b", "a"]) == ["B", "A"]
    assert len(server.requests) == num_asked


def test_equal_questions_are_asked_once(server, make, tmp_path):
    client = CachedClient(make(), str(tmp_path), "judge")
    assert client.answer(["a", "a", "a"]) == ["ok", "ok", "ok"]
    assert len(server.requests) == 1


def test_preset_judges_here(tmp_path):
    preset = Path(__file__).parents[3] / "data" / "base" / "tiny_gpt2_en"
    client = make_client(Judge(preset=str(preset), max_new_tokens=4), str(tmp_path))
    (reply,) = client.answer(["How are you?"])
    assert reply
    assert client.answer(["How are you?"]) == [reply]
    # The model would see the end alone, without what it is to grade by.
    assert client.answer(["How are you? " * 2000, "How are you?"]) == ["", reply]
    assert client.answer(["How are you? " * 2000 + "1"]) == [""]


@pytest.mark.parametrize("key", [f"{KEY}\r", f"{KEY}\n", f" {KEY}", f"{KEY}\u00e9"])
def test_key_that_is_none_is_not_shown(monkeypatch, key):
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(UserError, match="JUDGE_KEY must hold a key of printable ASCII") as caught:
        EndpointClient(Judge(endpoint="http://127.0.0.1:9/v1", model="m", api_key_env="JUDGE_KEY"))
    assert KEY not in str(caught.value)


def test_server_that_repeats_the_key(server, make):
    server.reply = lambda body, number: (401, {}, f"wrong key {KEY}")
    with pytest.raises(UserError, match=r"wrong key \*\*\*") as caught:
        ask(make(), "a")
    assert KEY not in str(caught.value)


def test_damaged_answer_is_asked_again(server, make, tmp_path):
    client = CachedClient(make(), str(tmp_path), "judge")
    server.reply = lambda body, number: (200, {}, complete("\ud83d half"))
    assert client.answer(["a"]) == ["\ud83d half"]
    assert client.answer(["a"]) == ["\ud83d half"]
    assert len(server.requests) == 1
    next(tmp_path.iterdir()).write_text("{")
    client.answer(["a"])
    assert len(server.requests) == 2
