"""Fixtures of several folders."""

import contextlib
import functools
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2

# Tiny models of every family that transformers has written, in Hugging Face's layout, with their logits.
GOLDEN = Path(__file__).resolve().parent / "components" / "models" / "golden"
GOLDEN_NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/logits.npz"))


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    """A real server of Debian's package, on a port of its own."""
    if not shutil.which("mariadbd") or not shutil.which("mariadb-install-db"):
        pytest.skip("needs a MariaDB server (Debian: apt-get install mariadb-server)")
    server = _load_module("mariadb_process").MariaDb(tmp_path_factory.mktemp("mariadb"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgresql():
    """A real server of Debian's package, on a port of its own."""
    module = _load_module("postgresql_process")
    if (programs := module.find_programs()) is None:
        pytest.skip("needs a PostgreSQL server (Debian: apt-get install postgresql)")
    server = module.Postgresql(programs)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def start_mlmd_server(tmp_path_factory):
    """Starts ML Metadata's gRPC service, in front of an empty SQLite store; it ends with the tests."""
    with contextlib.ExitStack() as stack:

        def start():
            config = metadata_store_pb2.ConnectionConfig()
            config.sqlite.filename_uri = str(tmp_path_factory.mktemp("mlmd_server") / "metadata.sqlite")
            config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
            return stack.enter_context(_load_module("mlmd_server").MlmdServer(config))

        yield start


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Paths of a certificate for 127.0.0.1 and Google's hosts, and of its key."""
    pytest.importorskip("cryptography", reason="makes the certificate of the local server")
    return _load_module("vertex_server").write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def vertex(certificate, tmp_path, monkeypatch):
    """A server that answers as Vertex AI does; Google's clients in this process ask it, as a service account."""
    from google.auth._regional_access_boundary_utils import _RegionalAccessBoundaryManager
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
    # A thread would ask another of Google's hosts where the account may be used, and warn in the middle of a later test's output.
    monkeypatch.setattr(_RegionalAccessBoundaryManager, "maybe_start_refresh", lambda *_: None)
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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server that answers as the Hugging Face hub does, with an empty cache on this side; its client in this process asks it."""
    import huggingface_hub.constants

    module = _load_module("hub_server")
    server = module.HubServer()
    web = module.serve(server)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)  # for processes that start now
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    web.shutdown()
    web.server_close()


@functools.cache
def _load_module(name):
    """The module beside this one: an installed package already owns the import name `tests`."""
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_golden_folder(tmp_path_factory):
    """Returns a function that makes the folder of a golden model, weights and tokenizer together."""
    import numpy as np

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "model"
        shutil.copytree(GOLDEN / name, folder, ignore=shutil.ignore_patterns("*.npz"))
        with np.load(GOLDEN / name / "logits.npz") as golden:
            shutil.copytree(GOLDEN / "tokenizers" / str(golden["tokenizer"]), folder, dirs_exist_ok=True)
        return folder

    return make


@pytest.fixture(scope="session")
def read_logits():
    """Returns a function that gives a golden model's token ids, (2, 12) int32, and its logits, (2, 12, vocabulary)."""

    def read(name: str) -> tuple[Any, Any]:
        import numpy as np

        with np.load(GOLDEN / name / "logits.npz") as golden:
            return golden["token_ids"], golden["logits"]

    return read


@pytest.fixture(params=GOLDEN_NAMES)
def golden_name(request) -> str:
    """Each golden model in turn."""
    return request.param


@pytest.fixture
def golden_names() -> list[str]:
    return GOLDEN_NAMES
