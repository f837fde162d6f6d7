"""Fixtures of several folders."""

import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Server:
    """A MariaDB server with an empty database `mlmd` and a user `mlmd` for it."""

    port: int
    password: str


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory):
    """A real server of Debian's package, on a port of its own."""
    password = "correct horse"
    if not shutil.which("mariadbd") or not shutil.which("mariadb-install-db"):
        pytest.skip("needs a MariaDB server (Debian: apt-get install mariadb-server)")
    folder = tmp_path_factory.mktemp("mariadb")
    data = folder / "data"
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            *as_root,
        ],
        check=True,
        capture_output=True,
    )
    init = folder / "init.sql"
    init.write_text(
        "CREATE DATABASE mlmd;\n"
        f"CREATE USER 'mlmd'@'%' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON mlmd.* TO 'mlmd'@'%';\n"
        # Without this the anonymous user of localhost comes first.
        f"CREATE USER 'mlmd'@'localhost' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON mlmd.* TO 'mlmd'@'localhost';\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["mariadbd", "--no-defaults", *options, f"--init-file={init}", *as_root], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Server(port=port, password=password)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Paths of a certificate for 127.0.0.1 and Google's hosts, and of its key."""
    pytest.importorskip("cryptography", reason="makes the certificate of the local server")
    return _load_module("vertex_server").write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def vertex(certificate, tmp_path, monkeypatch):
    """A server that answers as Vertex AI does; Google's clients in this process ask it, as a service account."""
    from google.cloud.aiplatform import initializer

    module = _load_module("vertex_server")
    server = module.VertexServer(buckets={"my-bucket"})
    web = module.serve(server, *certificate)
    account = {
        "type": "service_account",
        "client_email": "tester@my-project.iam.gserviceaccount.com",
        "private_key": certificate[1].read_text(),
        "token_uri": f"{server.url}/token",
    }
    credentials = tmp_path / "account.json"
    credentials.write_text(json.dumps(account))
    for name, value in {
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "CLOUDSDK_CONFIG": str(tmp_path / "no_gcloud"),
        "NO_GCE_CHECK": "true",  # no metadata server is looked for
        "REQUESTS_CA_BUNDLE": str(certificate[0]),
        "STORAGE_EMULATOR_HOST": server.url,
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(initializer.global_config, "_api_endpoint", server.host)
    monkeypatch.setattr(initializer.global_config, "_api_transport", "rest")
    yield server
    web.shutdown()
    web.server_close()
    assert server.problems == []


@pytest.fixture
def bucket(certificate, tmp_path, monkeypatch):
    """A bucket (`bucket.url`) that TensorFlow, TFX, Beam and processes that start now read and write as Google Cloud Storage."""
    server = _load_module("storage_process").Bucket(*certificate, tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    assert server.close() == []


@functools.cache
def _load_module(name):
    """The module beside this one: an installed package already owns the import name `tests`."""
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module
