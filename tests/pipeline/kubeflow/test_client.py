"""Runs on Kubeflow Pipelines, with kfp's own client against its API on a loopback port."""

import dataclasses
import json
import re

import pytest
import yaml

from components.errors import UserError
from pipeline.kubeflow.client import submit


def test_a_run_is_submitted(kubeflow_server, kubeflow_runner, tiny_spec, capfd):
    run = submit(kubeflow_runner, tiny_spec)
    (held,) = kubeflow_server.runs.values()
    (experiment,) = kubeflow_server.experiments.values()
    (pipeline,) = kubeflow_server.pipelines.values()
    (version,) = kubeflow_server.versions.values()
    assert (pipeline["display_name"], experiment["display_name"]) == ("tiny", "nightly")
    assert re.fullmatch("tiny-[0-9a-f]{12}", version["display_name"])
    assert held["pipeline_version_reference"] == {
        "pipeline_id": pipeline["pipeline_id"],
        "pipeline_version_id": version["pipeline_version_id"],
    }
    assert held["experiment_id"] == experiment["experiment_id"]
    assert held["runtime_config"] == {"parameters": tiny_spec.parameters}
    assert held["service_account"] == "trainer"
    assert held["display_name"] == run.name and run.name.startswith("tiny 2")
    assert (run.id, run.pipeline_id, run.version_id) == (held["run_id"], *held["pipeline_version_reference"].values())
    assert run.url == f"{kubeflow_server.host}/#/runs/details/{run.id}"
    assert capfd.readouterr() == ("", "")


def test_what_is_there_is_used_again(kubeflow_server, kubeflow_runner, tiny_spec):
    first, second = submit(kubeflow_runner, tiny_spec), submit(kubeflow_runner, tiny_spec)
    assert first.id != second.id
    assert first.version_id == second.version_id
    tables = (kubeflow_server.experiments, kubeflow_server.pipelines, kubeflow_server.versions, kubeflow_server.runs)
    assert [len(table) for table in tables] == [1, 1, 1, 2]
    changed = dataclasses.replace(tiny_spec, text=tiny_spec.text.replace("image:tag", "image:other"))
    assert submit(kubeflow_runner, changed).version_id != first.version_id
    assert [len(table) for table in tables] == [1, 1, 2, 3]


def test_another_client_that_uploads_at_the_same_time_is_no_error(
    kubeflow_server, kubeflow_runner, tiny_spec, monkeypatch
):
    submit(kubeflow_runner, tiny_spec)
    from pipeline.kubeflow import client as kubeflow_client

    # What the first look does not see is there when it is made.
    for name in ("find_pipeline", "_find_version"):
        real, seen = getattr(kubeflow_client, name), []
        monkeypatch.setattr(
            kubeflow_client,
            name,
            lambda *a, real=real, seen=seen: real(*a) if seen else seen.append(True),
        )
    submit(kubeflow_runner, tiny_spec)
    assert (len(kubeflow_server.pipelines), len(kubeflow_server.versions), len(kubeflow_server.runs)) == (1, 1, 2)
    assert kubeflow_server.count("POST", "pipelines/upload_version") == 2


def test_kubeflows_cache_is_off_in_every_task(kubeflow_server, kubeflow_runner, tiny_spec):
    before = yaml.safe_load(tiny_spec.text)
    submit(kubeflow_runner, tiny_spec)
    (text,) = kubeflow_server.specs.values()
    after = yaml.safe_load(text)
    assert pop_caching(before) == {"train": True, "train-2": True}
    assert pop_caching(after) == {"train": False, "train-2": False}
    assert after == before


def pop_caching(spec: dict) -> dict[str, bool]:
    """Takes what is said of the cache out of all tasks that say something, also of nested ones."""
    dags = [part["dag"] for part in (spec["root"], *spec["components"].values()) if "dag" in part]
    tasks = {name: task for dag in dags for name, task in dag["tasks"].items() if "cachingOptions" in task}
    return {name: task.pop("cachingOptions")["enableCache"] for name, task in tasks.items()}


def test_numbers_and_what_is_of_kubernetes_outlive_the_change(kubeflow_server, kubeflow_runner, tiny_spec):
    # JSON writes small numbers as YAML 1.1 does not know them.
    document = yaml.safe_load(tiny_spec.text)
    document["root"]["inputDefinitions"]["parameters"]["rate"]["defaultValue"] = 1e-05
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}
    text = json.dumps(document) + "\n---\n" + json.dumps(platform)
    assert "1e-05" in text
    submit(kubeflow_runner, dataclasses.replace(tiny_spec, text=text))
    (uploaded,) = kubeflow_server.specs.values()
    main, second = yaml.safe_load_all(uploaded)
    assert main["root"]["inputDefinitions"]["parameters"]["rate"]["defaultValue"] == 1e-05
    assert second == platform


def test_a_specification_without_cache_is_uploaded_as_it_is(kubeflow_server, kubeflow_runner, tiny_spec):
    text = "# made by a compiler\n" + re.sub(
        r"cachingOptions:\n +enableCache: true", "cachingOptions: {}", tiny_spec.text
    )
    submit(kubeflow_runner, dataclasses.replace(tiny_spec, text=text))
    assert list(kubeflow_server.specs.values()) == [text]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"steps": None}, "the parameter steps needs a value"),
        ({"steps": "7"}, "the parameter steps must be a NUMBER_INTEGER: '7'"),
        ({"more": 1}, "unknown parameters: {'more'}"),
    ],
)
def test_the_server_refuses_values_that_kubeflow_would(
    kubeflow_server_class, make_kubeflow_runner, tiny_spec, change, problem
):
    values = {name: value for name, value in (tiny_spec.parameters | change).items() if value is not None}
    with kubeflow_server_class() as server:
        with pytest.raises(UserError, match=re.escape(problem)):
            submit(make_kubeflow_runner(server.host), dataclasses.replace(tiny_spec, parameters=values))
        assert [problem in refused for refused in server.problems] == [True]
        assert server.runs == {}


def test_the_server_refuses_what_is_no_pipeline(kubeflow_server_class, make_kubeflow_runner, tiny_spec):
    spec = dataclasses.replace(tiny_spec, text=tiny_spec.text.replace("taskInfo", "taskInof"))
    with kubeflow_server_class() as server:
        with pytest.raises(UserError, match='has no field named "taskInof"'):
            submit(make_kubeflow_runner(server.host), spec)
        assert len(server.problems) == 1
        assert server.versions == {}
