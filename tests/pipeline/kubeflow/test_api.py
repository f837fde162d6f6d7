"""The connection to Kubeflow Pipelines: credentials, and what is said where it fails."""

import datetime
import ipaddress
import socket
from pathlib import Path

import pytest

from components.errors import UserError
from pipeline.kubeflow.client import submit
from pipeline.kubeflow.schedules import list_schedules


def test_a_token_comes_from_the_environment_and_is_never_shown(
    kubeflow_server, kubeflow_runner, tiny_spec, monkeypatch
):
    kubeflow_server.token = "good-token"
    with pytest.raises(UserError) as caught:
        submit(kubeflow_runner, tiny_spec)
    assert f"{kubeflow_server.host} refused them (401): Unauthenticated" in str(caught.value)
    assert "KUBEFLOW_TOKEN is not set" in str(caught.value)
    monkeypatch.setenv("KUBEFLOW_TOKEN", "old-token")
    with pytest.raises(UserError) as caught:
        submit(kubeflow_runner, tiny_spec)
    assert "KUBEFLOW_TOKEN is set; it may have expired" in str(caught.value)
    assert "old-token" not in str(caught.value)
    monkeypatch.setenv("KUBEFLOW_TOKEN", "good\ntoken")
    with pytest.raises(UserError, match="KUBEFLOW_TOKEN must hold one token") as caught:
        submit(kubeflow_runner, tiny_spec)
    assert "good" not in str(caught.value)
    monkeypatch.setenv("KUBEFLOW_TOKEN", "good-token\n")
    assert submit(kubeflow_runner, tiny_spec).id in kubeflow_server.runs


def test_a_token_is_not_sent_where_everybody_reads_it(make_kubeflow_runner, tiny_spec, monkeypatch):
    monkeypatch.setenv("KUBEFLOW_TOKEN", "good-token")
    with pytest.raises(
        UserError, match=r"a token is sent by https.* Received: http://kubeflow.example.com, "
    ) as caught:
        submit(make_kubeflow_runner("http://me:secret@kubeflow.example.com"), tiny_spec)
    assert "good" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "path", "status", "content_type", "body", "parts"),
    [
        (
            "GET",
            "healthz",
            404,
            "text/plain",
            "no",
            ["to connect must exist", "answered 404: Not Found", "port-forward"],
        ),
        (
            "GET",
            "healthz",
            200,
            "text/html",
            "<html>",
            ["It answered 200: it sent text/html: a page", "KUBEFLOW_TOKEN"],
        ),
        ("GET", "healthz", 302, "text/html", "", ["It answered 302: Found: a page", "for logging in"]),
        ("GET", "healthz", 503, "text/html", "<html>\u00e9", ["must be able to connect. It answered 503"]),
        ("GET", "pipelines", 403, "application/json", '{"error": "not yours"}', ["(403): not yours", "`namespace`"]),
        ("POST", "pipelines", 401, "application/json", "{}", ["allow to upload the pipeline tiny", "(401)"]),
        ("GET", "experiments", 500, "application/json", "{}", ["to use the experiment nightly. It answered 500"]),
        (
            "POST",
            "pipelines/upload_version",
            400,
            "application/json",
            '{"error_message": "bad"}',
            ["answered 400: bad."],
        ),
        (
            "POST",
            "runs",
            404,
            "application/json",
            '{"message": "gone"}',
            ["start a run of tiny must exist", "404: gone"],
        ),
    ],
)
def test_refusals_are_explained(
    kubeflow_server, kubeflow_runner, tiny_spec, method, path, status, content_type, body, parts
):
    kubeflow_server.force(method, path, status, body, content_type)
    with pytest.raises(UserError) as caught:
        submit(kubeflow_runner, tiny_spec)
    message = str(caught.value)
    assert [part for part in (kubeflow_server.host, *parts) if part not in message] == []
    # Once: nothing is tried again for half a minute.
    assert kubeflow_server.count(method, path) == 1
    assert kubeflow_server.runs == {}


def test_a_host_that_is_not_there(make_kubeflow_runner):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UserError) as caught:
        list_schedules(make_kubeflow_runner(f"http://me:secret@127.0.0.1:{port}"))
    assert f"http://127.0.0.1:{port} is not: [Errno 111] Connection refused. Correct `host`" in str(caught.value)
    assert "kubectl port-forward --namespace kubeflow service/ml-pipeline-ui 8080:80" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["http://", "http://[::1", "http://no such host"])
def test_a_host_that_is_no_address(host, make_kubeflow_runner):
    with pytest.raises(UserError, match="Correct `host` in the runner's YAML"):
        list_schedules(make_kubeflow_runner(host))


def test_a_host_that_does_not_answer(monkeypatch, make_kubeflow_runner):
    from pipeline.kubeflow import api as kubeflow_api

    monkeypatch.setattr(kubeflow_api, "TIMEOUT", (0.1, 0.1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UserError, match=r"is not: Read timed out. \(read timeout=0.1\). Correct `host`"):
            list_schedules(make_kubeflow_runner(f"http://127.0.0.1:{silent.getsockname()[1]}"))


def test_a_certificate_of_ones_own(kubeflow_server_class, monkeypatch, tmp_path, make_kubeflow_runner):
    file = make_certificate(tmp_path / "server.pem")
    with kubeflow_server_class(str(file)) as server:
        kubeflow_runner = make_kubeflow_runner(server.host)
        with pytest.raises(UserError, match=r"certificate verify failed.*environment variable SSL_CERT_FILE"):
            list_schedules(kubeflow_runner)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert list_schedules(kubeflow_runner) == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        with pytest.raises(UserError, match="SSL_CERT_FILE"):
            list_schedules(kubeflow_runner)


def make_certificate(file: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


def test_without_a_host_and_a_cluster(monkeypatch, tmp_path, make_kubeflow_runner):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(UserError, match="must be reachable to connect. http://localhost is not: .*Correct `host`"):
        list_schedules(make_kubeflow_runner(None))


def test_the_host_may_come_from_the_environment(kubeflow_server, monkeypatch, make_kubeflow_runner):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kubeflow_server.host)
    assert list_schedules(make_kubeflow_runner(None)) == []
    assert kubeflow_server.count("GET", "recurringruns") == 1
