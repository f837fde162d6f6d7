"""Addresses: nothing secret of them is shown, and nothing secret is sent where everybody reads it."""

import pytest

from components.addresses import hide_password, is_read_on_the_way


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:secret@host/x", "https://***@host/x"),
        ("s3://secret@bucket/x y", "s3://***@bucket/x y"),
        ("me:secret@host:3306/x", "***@host:3306/x"),
        ("https://host/x.csv?X-Signature=secret&y=1", "https://host/x.csv?***"),
        ("https://host/x.csv#token=secret", "https://host/x.csv?***"),
        ("hf://owner/name@main", "hf://owner/name@main"),
        ("gs://bucket/part-?.csv", "gs://bucket/part-?.csv"),
        ("data/me@home/part-?.csv", "data/me@home/part-?.csv"),
        ("data/{SPAN}/x=1.csv", "data/{SPAN}/x=1.csv"),
    ],
)
def test_what_may_be_secret_is_hidden(address, shown):
    assert hide_password(address) == shown


@pytest.mark.parametrize(
    ("address", "is_read"),
    [
        ("http://kubeflow.example.com/pipeline", True),
        ("http://10.0.0.7:8888", True),
        ("http://host.svc.example.com", True),
        ("https://kubeflow.example.com", False),
        ("http://localhost:8080", False),
        ("http://127.0.0.2", False),
        ("http://[::1]:80", False),
        ("http://localhost.:8080", False),
        ("http://ml-pipeline", True),
        ("http://ml-pipeline-ui.kubeflow", True),
        ("http://ml-pipeline.kubeflow.svc.cluster.local.", False),
        ("http://ml-pipeline.kubeflow.svc:8888", False),
        ("http://ml-pipeline.kubeflow.svc.cluster.local", False),
        ("http://", False),
        ("http://[::1", False),
    ],
)
def test_http_that_leaves_machine_and_cluster_is_read(address, is_read, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert is_read_on_the_way(address) is is_read


def test_short_names_are_those_of_the_cluster_that_one_is_in(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert not is_read_on_the_way("http://ml-pipeline") and not is_read_on_the_way("http://ml-pipeline-ui.kubeflow")
    assert is_read_on_the_way("http://kubeflow.example.com") and is_read_on_the_way("http://10.0.0.7")
