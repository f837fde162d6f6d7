"""A server on the loopback interface that answers as Vertex AI does, as far as this project asks it.

It keeps its state, reads every body strictly into the API's own messages, and notes whatever it does not know in
`problems`, which must be empty at the end of a test.
"""

import datetime
import http.server
import ipaddress
import json
import re
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

PAGE_SIZE = 2
_OUTPUT_ONLY = ("name", "state", "createTime", "updateTime", "nextRunTime", "catchUp", "startedRunCount")
_PLACE = r"/v1/(?P<parent>projects/[^/]+/locations/[^/]+)"


@dataclass(frozen=True)
class Request:
    """One request: `body` is the JSON as sent; `query` without the parameters of the transport."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class VertexServer:
    """What is on the server, and what was asked of it."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    buckets: set[str] = field(default_factory=set)
    schedules: dict[str, Any] = field(default_factory=dict)
    custom_job_state: str = "JOB_STATE_SUCCEEDED"
    custom_jobs: dict[str, Any] = field(default_factory=dict)
    # (method and path as a regular expression) -> (HTTP code, gRPC status, message)
    refusals: dict[str, tuple[int, str, str]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def list_requests(self, method: str, ending: str) -> list[Request]:
        return [each for each in self.requests if each.method == method and each.path.endswith(ending)]

    def answer(self, request: Request) -> tuple[int, Any]:
        for pattern, (code, status, message) in self.refusals.items():
            if re.search(pattern, f"{request.method} {request.path}"):
                return code, {"error": {"code": code, "status": status, "message": message}}
        for method, pattern, handle in (
            ("POST", r"/token", self._token),
            ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)", self._bucket),
            ("POST", _PLACE + "/pipelineJobs", self._create_pipeline_job),
            ("POST", _PLACE + "/schedules", self._create_schedule),
            ("GET", _PLACE + "/schedules", self._list_schedules),
            ("POST", _PLACE + r"/schedules/(?P<id>\d+):(?P<verb>pause|resume)", self._change_schedule),
            ("DELETE", _PLACE + r"/schedules/(?P<id>\d+)", self._delete_schedule),
            ("POST", _PLACE + "/customJobs", self._create_custom_job),
            ("GET", _PLACE + r"/customJobs/(?P<id>\d+)", self._get_custom_job),
        ):
            if request.method == method and (match := re.fullmatch(pattern, request.path)):
                try:
                    return 200, handle(request, **match.groupdict())
                except KeyError as error:
                    return 404, {"error": {"code": 404, "status": "NOT_FOUND", "message": f"{error} not found"}}
                except json_format.ParseError as error:
                    self.problems.append(f"{request.method} {request.path}: {error}")
                    return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": str(error)}}
        self.problems.append(f"{request.method} {request.path}: not known to this server")
        return 501, {"error": {"code": 501, "status": "UNIMPLEMENTED", "message": "not known"}}

    def _token(self, request):
        return {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}

    def _bucket(self, request, bucket):
        if bucket not in self.buckets:
            raise KeyError(bucket)
        return {"name": bucket}

    def _create_pipeline_job(self, request, parent):
        job = _parse(types.PipelineJob, request.body)
        job.name = f"{parent}/pipelineJobs/{request.query['pipelineJobId']}"
        return _dump(job)

    def _create_schedule(self, request, parent):
        if given := sorted(set(_OUTPUT_ONLY) & request.body.keys()):
            raise json_format.ParseError(f"output only: {given}")
        schedule = _parse(types.Schedule, request.body)
        number = 1 + max((int(name.rpartition("/")[2]) for name in self.schedules), default=0)
        schedule.name = f"{parent}/schedules/{number}"
        schedule.state = types.Schedule.State.ACTIVE
        schedule.next_run_time.FromJsonString("2026-12-01T06:00:00Z")
        self.schedules[schedule.name] = schedule
        return _dump(schedule)

    def _list_schedules(self, request, parent):
        newest_first = [self.schedules[name] for name in reversed(self.schedules) if name.startswith(f"{parent}/")]
        start = int(request.query.get("pageToken", 0))
        rest = len(newest_first) > start + PAGE_SIZE
        page = {"schedules": [_dump(each) for each in newest_first[start : start + PAGE_SIZE]]}
        return page | ({"nextPageToken": str(start + PAGE_SIZE)} if rest else {})

    def _change_schedule(self, request, parent, id, verb):
        schedule = self.schedules[f"{parent}/schedules/{id}"]
        if verb == "pause":
            _parse(types.PauseScheduleRequest, request.body)
            schedule.state = types.Schedule.State.PAUSED
        else:
            schedule.catch_up = _parse(types.ResumeScheduleRequest, request.body).catch_up
            schedule.state = types.Schedule.State.ACTIVE
        return {}

    def _delete_schedule(self, request, parent, id):
        del self.schedules[f"{parent}/schedules/{id}"]
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return {"name": f"{parent}/operations/1", "done": True, "response": empty}

    def _create_custom_job(self, request, parent):
        job = _parse(types.CustomJob, request.body)
        job.name = f"{parent}/customJobs/{len(self.custom_jobs) + 1}"
        self.custom_jobs[job.name] = job
        return _dump(job)

    def _get_custom_job(self, request, parent, id):
        job = self.custom_jobs[f"{parent}/customJobs/{id}"]
        job.state = types.JobState[self.custom_job_state]
        if self.custom_job_state == "JOB_STATE_FAILED":
            job.error.message = "the machine ran out of memory"
        return _dump(job)


def _parse(kind, body):
    """A protobuf message of a JSON body; unknown fields are errors."""
    return json_format.ParseDict(body, kind.pb(kind()), ignore_unknown_fields=False)


def _dump(message):
    return json_format.MessageToDict(message, use_integers_for_enums=True)


def serve(server: VertexServer, certificate: Path, key: Path) -> http.server.ThreadingHTTPServer:
    """Starts answering on a port of its own; `shutdown` and `server_close` end it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self):
            parts = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            is_json = "json" in self.headers.get("Content-Type", "")
            query = {name: values[0] for name, values in parse_qs(parts.query).items() if not name.startswith("$")}
            request = Request(self.command, parts.path, query, json.loads(text) if is_json and text else text)
            server.requests.append(request)
            if not parts.path.startswith("/token") and not self.headers.get("Authorization", "").startswith("Bearer "):
                server.problems.append(f"{self.command} {parts.path}: no bearer token")
            code, body = server.answer(request)
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PATCH = _answer  # noqa: N815 - names that http.server looks for

        def log_message(self, *arguments):
            """Keeps the test's output clean."""

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    web.daemon_threads = True
    server.url = f"https://127.0.0.1:{web.server_port}"
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return web


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Writes a certificate for 127.0.0.1 and Google's hosts that signs itself, and its key; returns their paths."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("*.googleapis.com")]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths
