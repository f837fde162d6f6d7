"""The part of Kubeflow Pipelines' API (v2beta1) that this project uses, on a loopback port, with its state in memory.

Bodies are checked against kfp's own models of the API, uploaded pipelines by parsing them as its own protocol buffers.
"""

import base64
import email
import email.policy
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kfp.pipeline_spec import pipeline_spec_pb2
from kubeflow_checks import Refused, check_parameter, find_model_problems, get_answer_model, parse_spec

MAX_PAGE = 200


class KubeflowServer:
    """The server.

    Attributes:
        experiments, pipelines, versions, runs, recurring_runs: What it holds, by id, as its API shows it.
        specs: The uploaded text, by the version's id.
        requests: Method and path of each request.
        problems: What it has refused as invalid.
        token: If given, requests must bear it.
        page_size: The most that a page holds.
        answers: Status, content type and body that a method and path get instead of the real ones.
    """

    def __init__(self, certificate: str | None = None):
        self.experiments: dict[str, dict] = {}
        self.pipelines: dict[str, dict] = {}
        self.versions: dict[str, dict] = {}
        self.runs: dict[str, dict] = {}
        self.recurring_runs: dict[str, dict] = {}
        self.specs: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.token: str | None = None
        self.page_size = MAX_PAGE
        self.answers: dict[tuple[str, str], tuple[int, str, str]] = {}
        self._count = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self.host = f"http://127.0.0.1:{self._http.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
            self.host = self.host.replace("http", "https")

    def __enter__(self) -> "KubeflowServer":
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def count(self, method: str, path: str) -> int:
        return self.requests.count((method, f"/apis/v2beta1/{path}"))

    def force(
        self, method: str, path: str, status: int, body: str = "", content_type: str = "application/json"
    ) -> None:
        self.answers[method, f"/apis/v2beta1/{path}"] = (status, content_type, body)

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, content_type: str) -> Any:
        """Returns what the API answers; raises Refused."""
        resource, _, rest = path.removeprefix("/apis/v2beta1/").partition("/")
        match method, resource, rest:
            case "GET", "healthz", "":
                return {"multi_user": False}
            case "GET", "experiments", "":
                return self._list("experiments", self.experiments, query, "namespace")
            case "POST", "experiments", "":
                return self._add(
                    self.experiments, "experiment_id", self._read("V2beta1Experiment", body, "display_name")
                )
            case "GET", "pipelines", "":
                return self._list("pipelines", self.pipelines, query, "namespace")
            case "POST", "pipelines", "":
                pipeline = self._read("V2beta1Pipeline", body, "display_name")
                if any(p["display_name"] == pipeline["display_name"] for p in self.pipelines.values()):
                    raise Refused(409, "the pipeline exists already")
                return self._add(self.pipelines, "pipeline_id", pipeline)
            case "POST", "pipelines", "upload_version":
                return self._upload(query, body, content_type)
            case "GET", "pipelines", _ if rest.endswith("/versions"):
                pipeline_id = rest.removesuffix("/versions")
                self._get(self.pipelines, pipeline_id)
                versions = {k: v for k, v in self.versions.items() if v["pipeline_id"] == pipeline_id}
                return self._list("pipeline_versions", versions, query)
            case "GET", "pipelines", _ if "/" not in rest:
                return self._get(self.pipelines, rest)
            case "POST", "runs", "":
                run = self._read("V2beta1Run", body, "display_name", "experiment_id", "runtime_config")
                self._check_source(run)
                return self._add(self.runs, "run_id", run | {"state": "PENDING"})
            case "GET", "recurringruns", "":
                return self._list("recurringRuns", self.recurring_runs, query, "namespace")
            case "POST", "recurringruns", "":
                return self._add_recurring_run(body)
            case "POST", "recurringruns", _ if rest.endswith((":enable", ":disable")):
                identity, _, verb = rest.rpartition(":")
                self._get(self.recurring_runs, identity).update(mode=verb.upper(), status=f"{verb.upper()}D")
                return {}
            case "DELETE", "recurringruns", _:
                self._get(self.recurring_runs, rest)
                del self.recurring_runs[rest]
                return {}
        raise Refused(400, f"no such method: {method} {path}")

    def _add_recurring_run(self, body: bytes) -> dict:
        required = ("display_name", "experiment_id", "runtime_config", "trigger", "mode", "max_concurrency")
        run = self._read("V2beta1RecurringRun", body, *required)
        self._check_source(run)
        if not 1 <= int(run["max_concurrency"]) <= 10:
            raise Refused(400, "Max concurrency of a recurring run must be at least 1 and at most 10.")
        if len(run["trigger"]["cron_schedule"]["cron"].split()) != 6:
            raise Refused(400, "Schedule cron is not a supported format")
        run["max_concurrency"] = str(run["max_concurrency"])
        run["status"] = "ENABLED" if run["mode"] == "ENABLE" else "DISABLED"
        return self._add(self.recurring_runs, "recurring_run_id", run)

    def _upload(self, query: dict[str, str], body: bytes, content_type: str) -> dict:
        if set(query) - {"name", "display_name", "pipelineid", "description", "tags"} or not query.get("name"):
            raise Refused(400, f"unknown or missing names: {query}")
        pipeline = self._get(self.pipelines, query["pipelineid"])
        if any(
            v["pipeline_id"] == pipeline["pipeline_id"] and v["name"] == query["name"] for v in self.versions.values()
        ):
            raise Refused(409, "the version exists already")
        if len(query["name"]) > 127:
            raise Refused(400, "PipelineVersion.Name length cannot exceed 127")
        message = email.message_from_bytes(
            b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP
        )
        (part,) = message.iter_parts()
        if part.get_param("name", header="content-disposition") != "uploadfile":
            raise Refused(400, "Failed to read pipeline from file")
        text = part.get_payload(decode=True).decode()
        parse_spec(text)
        version = {"pipeline_id": pipeline["pipeline_id"], "name": query["name"], "display_name": query["name"]}
        added = self._add(self.versions, "pipeline_version_id", version)
        self.specs[added["pipeline_version_id"]] = text
        return added

    def _check_source(self, run: dict) -> None:
        """A run must be of an uploaded version, in an experiment, with a valid value for each of its parameters."""
        self._get(self.experiments, run["experiment_id"])
        reference = run.get("pipeline_version_reference") or {}
        version = self._get(self.versions, reference.get("pipeline_version_id", ""))
        if version["pipeline_id"] != reference.get("pipeline_id"):
            raise Refused(400, "the version is of another pipeline")
        values = run["runtime_config"].get("parameters", {})
        known = parse_spec(self.specs[version["pipeline_version_id"]]).root.input_definitions.parameters
        if unknown := set(values) - set(known):
            raise Refused(400, f"unknown parameters: {unknown}")
        for name, definition in known.items():
            kind = pipeline_spec_pb2.ParameterType.ParameterTypeEnum.Name(definition.parameter_type)
            if name in values:
                check_parameter(name, kind, values[name])
            elif not definition.HasField("default_value") and not definition.is_optional:
                raise Refused(400, f"the parameter {name} needs a value")

    def _add(self, table: dict[str, dict], key: str, item: dict) -> dict:
        self._count += 1
        identity = f"{key.removesuffix('_id')}-{self._count:04}"
        created = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=self._count)
        table[identity] = item | {key: identity, "created_at": created.isoformat()}
        return table[identity]

    def _get(self, table: dict[str, dict], identity: str) -> dict:
        if identity not in table:
            raise Refused(404, f"{identity!r} not found")
        return table[identity]

    def _list(self, name: str, table: dict[str, dict], query: dict[str, str], *more: str) -> dict:
        if unknown := set(query) - {"page_token", "page_size", "sort_by", "filter", *more}:
            raise Refused(400, f"unknown names: {unknown}")
        items = list(table.values())
        if query.get("namespace"):
            items = [i for i in items if i.get("namespace", query["namespace"]) == query["namespace"]]
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            if predicate["operation"] not in (1, "EQUALS") or predicate["key"] != "display_name":
                raise Refused(400, f"unknown predicate: {predicate}")
            items = [i for i in items if i["display_name"] == predicate["stringValue"]]
        start = int(base64.b64decode(query["page_token"])) if query.get("page_token") else 0
        end = start + min(int(query.get("page_size", 20)), self.page_size)
        page: dict[str, Any] = {name: items[start:end], "total_size": len(items)}
        if end < len(items):
            page["next_page_token"] = base64.b64encode(str(end).encode()).decode()
        # Empty lists are left out, as by the real API.
        return page if page[name] else {}

    def _read(self, model: str, body: bytes, *required: str) -> dict:
        data = json.loads(body)
        if problems := list(find_model_problems(model, data, model)):
            raise Refused(400, "; ".join(problems))
        if missing := [name for name in required if not data.get(name)]:
            raise Refused(400, f"{model} needs {missing}")
        return data


class _Handler(BaseHTTPRequestHandler):
    api: KubeflowServer
    protocol_version = "HTTP/1.1"
    # Head and body go out together; apart, the second waits 40 ms for the first to be acknowledged.
    wbufsize = -1

    def _answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.api.requests.append((self.command, url.path))
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        if forced := self.api.answers.get((self.command, url.path)):
            self._send(*forced)
            return
        if self.api.token and self.headers.get("authorization") != f"Bearer {self.api.token}":
            self._send(401, "application/json", json.dumps({"error": "Unauthenticated", "code": 16}))
            return
        try:
            answer = self.api.answer(self.command, url.path, query, body, self.headers.get("Content-Type") or "")
            # The server itself is held to kfp's models as well.
            self.api.problems += find_model_problems(get_answer_model(self.command, url.path), answer, "answer")
            self._send(200, "application/json", json.dumps(answer))
        except Refused as error:
            if error.status == 400:
                self.api.problems.append(f"{self.command} {url.path}: {error}")
            self._send(error.status, "application/json", json.dumps({"message": str(error), "code": 3}))

    def _send(self, status: int, content_type: str, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body.encode())))
        if status == 302:
            self.send_header("Location", "/login")
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Stays silent."""
