"""What the locks leave out, the audit of what they hold, and the bill of materials."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    "requirements.txt",
    "requirements-jax.txt",
    "requirements-cuda.txt",
    "requirements-tpu.txt",
    "requirements-dev.txt",
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", read(lock), re.MULTILINE))


def list_excluded() -> list[str]:
    return [line for line in read("requirements-excludes.txt").splitlines() if line and not line.startswith("#")]


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_excluded_is_not_locked(lock: str):
    assert set(list_excluded()) & {canonicalize_name(name) for name in read_pins(lock)} == set()


def test_whatever_is_excluded_is_asked_for():
    """Tells when a line of the excludes has become needless."""
    asked = {
        canonicalize_name(Requirement(text).name)
        for distribution in metadata.distributions()
        for text in distribution.requires or []
    }
    assert set(list_excluded()) - asked == set()


def test_everything_can_be_imported_without_what_is_excluded():
    script = (
        "import importlib, pkgutil, tfx, components, configs, data, pipeline\n"
        "import tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor, kfp.client, google.cloud.aiplatform\n"
        "for package in (components, configs, data, pipeline):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # TFMA and others say on standard error what they miss.
    assert not re.search(r"Error importing|Unable to import|not found, and", done.stdout + done.stderr)


def test_every_group_of_excludes_has_its_reason():
    groups = [group for group in read("requirements-excludes.txt").split("\n\n") if re.search("^[a-z]", group, re.M)]
    assert len(groups) > 3
    assert [group for group in groups if not group.startswith("# ")] == []


def test_docs_say_how_many_packages_there_are_and_why_a_vulnerability_is_accepted():
    text = read("docs/supply_chain.md")
    assert f"`requirements.txt` names {len(read_pins('requirements.txt'))} packages" in text
    (accepted,) = re.findall(r"^AUDIT_ACCEPTED := (.*)$", read("Makefile"), re.MULTILINE)
    assert accepted.split() == re.findall(r"^\| \[(GHSA-[\w-]+)\]", text, re.MULTILINE)


# --- make audit


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV does; knows one vulnerability each of what `server.vulnerable` names."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query.get("package", {}).get("name")
        self.server.asked[name] = query.get("version")
        found = []
        if name in self.server.vulnerable:
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}]
            affected = [
                {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges, "versions": [query["version"]]}
            ]
            identifier = self.server.vulnerable[name]
            found = [{"id": identifier, "summary": "", "details": "Told by the test.", "affected": affected}]
        body = json.dumps({"vulns": found} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    server.vulnerable, server.asked = {}, {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def audit(osv: ThreadingHTTPServer) -> subprocess.CompletedProcess[str]:
    return make("audit", f"OSV_URL=http://127.0.0.1:{osv.server_port}/v1/query")


def test_audit_asks_for_every_pin_of_every_lock(osv: ThreadingHTTPServer):
    osv.vulnerable["pyarrow"] = "GHSA-rgxp-2hwp-jwgg"
    done = audit(osv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 ignored" in done.stdout + done.stderr, "what is accepted is told"
    pins = {canonicalize_name(name): pin for lock in LOCKS for name, pin in read_pins(lock).items()}
    assert {name: pin for name, pin in osv.asked.items() if name} == pins


def test_audit_fails_on_what_is_not_accepted(osv: ThreadingHTTPServer):
    osv.vulnerable["jinja2"] = "GHSA-test-test-test"
    done = audit(osv)
    assert done.returncode == 2
    assert re.search(
        rf"jinja2 +{re.escape(read_pins('requirements.txt')['jinja2'])} +GHSA-test-test-test +999", done.stdout
    )


def test_audit_without_a_database_says_so():
    done = make("audit", "OSV_URL=http://127.0.0.1:9/v1/query")
    assert done.returncode == 2
    assert "asks http://127.0.0.1:9/v1/query, which this machine cannot reach" in done.stderr
    assert "Traceback" not in done.stderr


# --- make sbom


@pytest.mark.slow
def test_bill_of_materials_lists_the_environment():
    done = make("sbom")
    assert done.returncode == 0, done.stderr
    bill = json.loads(read("build/sbom.cdx.json"))
    components = [c for c in bill["components"] if c.get("purl", "").startswith("pkg:pypi/")]
    listed = {(canonicalize_name(c["name"]), c["version"]) for c in components}
    locks = ("requirements.txt", "requirements-dev.txt")
    pins = {(canonicalize_name(name), pin) for lock in locks for name, pin in read_pins(lock).items()}
    assert pins - listed == set()
    assert bill["metadata"]["component"]["name"] == "lm-fine-tuning"
    assert sum("licenses" in c for c in components) > 0.9 * len(components)
