"""Vertex AI's own client library against a local server."""

import dataclasses

import pytest
import yaml

from components.errors import UserError
from configs.runner_schema import VertexRunnerConfig
from pipeline.specs.compiled_spec import CompiledSpec
from pipeline.vertex import client as vertex_client

PARENT = "projects/my-project/locations/europe-west4"
KEY = "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"
DOCUMENT = {
    "schemaVersion": "2.1.0",
    "sdkVersion": "tfx-1.21.0",
    "pipelineInfo": {"name": "tiny-lora"},
    "defaultPipelineRoot": "gs://my-bucket/root",
    "root": {
        "inputDefinitions": {
            "parameters": {
                "data-path": {"parameterType": "STRING"},
                "train-learning_rate": {"parameterType": "NUMBER_DOUBLE"},
                "train-epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1.0},
            }
        },
        "dag": {
            "tasks": {
                "Trainer": {"componentRef": {"name": "Trainer"}, "cachingOptions": {"enableCache": True}},
                "BaselineResolver": {"componentRef": {"name": "BaselineResolver"}},
            }
        },
    },
    "components": {
        "Trainer": {"executorLabel": "Trainer_executor"},
        "BaselineResolver": {"executorLabel": "BaselineResolver_executor"},
    },
    "deploymentSpec": {
        "executors": {"Trainer_executor": {"container": {"image": "registry/image:1", "args": ["1e-05"]}}}
    },
}
SPEC = CompiledSpec(
    pipeline_name="tiny-lora",
    text=yaml.safe_dump(DOCUMENT),
    parameters={"data-path": "gs://my-bucket/data", "train-learning_rate": 1e-5, "train-epochs": 3},
)
RUNNER = VertexRunnerConfig(
    kind="vertex",
    project="my-project",
    region="europe-west4",
    pipeline_root="gs://my-bucket/root",
    service_account="steps@my-project.iam.gserviceaccount.com",
    network="projects/123/global/networks/private",
    encryption_key=KEY,
    labels={"team": "language"},
)
JOB = {
    "runtimeConfig": {
        "gcsOutputDirectory": "gs://my-bucket/root",
        "parameterValues": {"data-path": "gs://my-bucket/data", "train-learning_rate": 1e-5, "train-epochs": 3.0},
    },
    "pipelineSpec": DOCUMENT,
    "labels": {"team": "language", "pipeline": "tiny-lora"},
    "encryptionSpec": {"kmsKeyName": KEY},
    "serviceAccount": "steps@my-project.iam.gserviceaccount.com",
    "network": "projects/123/global/networks/private",
}


def create(
    runner=RUNNER,
    spec=SPEC,
    cron="0 6 * * 1",
    timezone="Europe/Berlin",
    catch_up=False,
    max_concurrency=1,
    use_cache=True,
):
    return vertex_client.create_schedule(
        runner,
        spec,
        cron,
        timezone=timezone,
        catch_up=catch_up,
        max_concurrency=max_concurrency,
        use_cache=use_cache,
    )


def test_a_run_is_submitted_exactly_as_the_runner_says(vertex):
    run = vertex_client.submit(RUNNER, SPEC)
    (request,) = vertex.list_requests("POST", "/pipelineJobs")
    assert request.path == f"/v1/{PARENT}/pipelineJobs"
    assert request.query == {"pipelineJobId": run.run_id}
    # The spec itself is unchanged: the resolver, which must look again in every run, is not cached.
    assert request.body == JOB | {"displayName": "tiny-lora"}
    assert run.name == f"{PARENT}/pipelineJobs/{run.run_id}"
    assert run.run_id.startswith("tiny-lora-20")
    assert run.url == (
        "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs/"
        f"{run.run_id}?project=my-project"
    )
    assert vertex_client.submit(RUNNER, SPEC).run_id != run.run_id


def test_without_the_cache_every_step_runs(vertex):
    vertex_client.submit(RUNNER, SPEC, use_cache=False)
    create(use_cache=False)
    (run,), (schedule,) = (vertex.list_requests("POST", path) for path in ("/pipelineJobs", "/schedules"))
    for job in (run.body, schedule.body["createPipelineJobRequest"]["pipelineJob"]):
        tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
        assert {name: task["cachingOptions"] for name, task in tasks.items()} == {
            "Trainer": {"enableCache": False},
            "BaselineResolver": {"enableCache": False},
        }


def test_what_a_runner_leaves_out_is_not_sent(vertex):
    runner = VertexRunnerConfig(
        kind="vertex", project="my-project", region="europe-west4", pipeline_root="gs://my-bucket/x"
    )
    text = yaml.safe_dump({key: value for key, value in DOCUMENT.items() if key != "defaultPipelineRoot"})
    vertex_client.submit(runner, dataclasses.replace(SPEC, text=text))
    (request,) = vertex.list_requests("POST", "/pipelineJobs")
    assert not {"serviceAccount", "network", "encryptionSpec"} & request.body.keys()
    assert request.body["labels"] == {"pipeline": "tiny-lora"}
    assert request.body["runtimeConfig"]["gcsOutputDirectory"] == "gs://my-bucket/x"


def test_a_schedule_is_created_exactly_as_asked_for(vertex):
    schedule = create(catch_up=True, max_concurrency=2)
    (request,) = vertex.list_requests("POST", "/schedules")
    assert request.body == {
        "displayName": schedule.display_name,
        "cron": "TZ=Europe/Berlin 0 6 * * 1",
        "maxConcurrentRunCount": "2",
        "maxConcurrentActiveRunCount": "2",
        "allowQueueing": True,
        "createPipelineJobRequest": {"parent": PARENT, "pipelineJob": JOB},
    }
    assert schedule == vertex_client.Schedule(
        display_name=schedule.display_name,
        name=f"{PARENT}/schedules/1",
        pipeline_name="tiny-lora",
        cron="0 6 * * 1",
        timezone="Europe/Berlin",
        state="active",
        catch_up=True,
        max_concurrency=2,
        next_run="2026-12-01T06:00:00+00:00",
        url="https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/schedules/1?project=my-project",
    )


def test_the_same_schedule_twice_is_one(vertex):
    first = create()
    assert create() == first
    vertex_client.pause_schedule(RUNNER, first.display_name)
    assert create().state == "paused"
    assert len(vertex.list_requests("POST", "/schedules")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 7 * * 1"},
        {"timezone": "UTC"},
        {"catch_up": True},
        {"use_cache": False},
        {"max_concurrency": 2},
        {"spec": dataclasses.replace(SPEC, parameters=SPEC.parameters | {"train-epochs": 4})},
        {"spec": dataclasses.replace(SPEC, text=SPEC.text.replace("image:1", "image:2"))},
        {"runner": RUNNER.model_copy(update={"service_account": None})},
    ],
    ids=lambda change: "-".join(change),
)
def test_anything_else_is_another_schedule(vertex, change):
    names = {create().display_name, create(**change).display_name}
    assert len(names) == 2
    assert len(vertex.schedules) == 2


def test_schedules_of_all_pages_are_listed(vertex):
    created = [create(cron=f"{minute} 6 * * *") for minute in range(5)]
    other = create(spec=dataclasses.replace(SPEC, pipeline_name="tiny-lora-2"))
    create(runner=RUNNER.model_copy(update={"region": "us-central1"}))
    next(iter(vertex.schedules.values())).display_name = "made by hand"
    newest_first = created[:0:-1]
    assert vertex_client.list_schedules(RUNNER) == [other, *newest_first]
    assert vertex_client.list_schedules(RUNNER, "tiny-lora") == newest_first
    pages = [each.query.get("pageToken") for each in vertex.list_requests("GET", "europe-west4/schedules")]
    assert pages[-3:] == [None, "2", "4"]


@pytest.mark.parametrize("by", ["display_name", "name", "id"])
def test_a_schedule_is_paused_resumed_and_deleted(vertex, by):
    kept, schedule = create(cron="1 1 1 1 1"), create()
    name = schedule.name.rpartition("/")[2] if by == "id" else getattr(schedule, by)
    states = []
    vertex_client.pause_schedule(RUNNER, name)
    states.append([each.state for each in vertex_client.list_schedules(RUNNER)])
    vertex_client.resume_schedule(RUNNER, name)
    states.append([each.state for each in vertex_client.list_schedules(RUNNER)])
    assert states == [["paused", "active"], ["active", "active"]]
    vertex_client.delete_schedule(RUNNER, name)
    assert vertex_client.list_schedules(RUNNER) == [kept]


@pytest.mark.parametrize(
    ("created", "resumed", "sent"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_missed_runs_are_made_up_for_if_asked_to(vertex, created, resumed, sent):
    schedule = create(catch_up=created)
    vertex_client.pause_schedule(RUNNER, schedule.display_name)
    vertex_client.resume_schedule(RUNNER, schedule.display_name, resumed)
    (request,) = vertex.list_requests("POST", ":resume")
    assert request.body.get("catchUp", False) is sent


def test_an_unknown_schedule_is_named_with_those_that_are_there(vertex):
    schedule = create()
    with pytest.raises(UserError) as caught:
        vertex_client.pause_schedule(RUNNER, "tiny-lora-0000")
    assert "there is no schedule 'tiny-lora-0000' in project my-project, region europe-west4." in str(caught.value)
    assert f"Schedules: {schedule.display_name}." in str(caught.value)


@pytest.mark.parametrize("call", [lambda spec: vertex_client.submit(RUNNER, spec), lambda spec: create(spec=spec)])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"train-epochs": 1}, "Without one: data-path, train-learning_rate."),
        (SPEC.parameters | {"train-epoch": 1}, "not train-epoch. Did you mean `train-epochs`?"),
    ],
)
def test_every_parameter_needs_a_value(vertex, call, parameters, message):
    with pytest.raises(UserError) as caught:
        call(dataclasses.replace(SPEC, parameters=parameters))
    assert message in str(caught.value)
    assert vertex.requests == []


def test_a_missing_bucket_is_found_and_not_made(vertex):
    vertex.buckets.clear()
    with pytest.raises(UserError) as caught:
        vertex_client.submit(RUNNER, SPEC)
    assert "gcloud storage buckets create gs://my-bucket --project my-project --location europe-west4" in str(
        caught.value
    )
    assert [(each.method, each.path) for each in vertex.requests if each.path != "/token"] == [
        ("GET", "/storage/v1/b/my-bucket")
    ]


def test_a_bucket_that_may_not_be_looked_at_is_no_obstacle(vertex, capsys):
    vertex.refusals["GET /storage"] = (403, "PERMISSION_DENIED", "no storage.buckets.get")
    vertex_client.submit(RUNNER, SPEC)
    create()
    assert [len(vertex.list_requests("POST", ending)) for ending in ("/pipelineJobs", "/schedules")] == [1, 1]
    # What the library prints is not ours to say.
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (401, "UNAUTHENTICATED", ["not valid", "gcloud auth application-default login"]),
        (
            403,
            "PERMISSION_DENIED",
            [
                "roles/aiplatform.user",
                "roles/iam.serviceAccountUser on the account that the steps run as steps@my-project",
                "gcloud services enable aiplatform.googleapis.com --project my-project",
            ],
        ),
        (404, "NOT_FOUND", ["Check `project` and `region`"]),
        (429, "RESOURCE_EXHAUSTED", ["a quota is used up", "iam-admin/quotas?project=my-project"]),
        (400, "INVALID_ARGUMENT", ["was refused"]),
        (503, "UNAVAILABLE", ["could not be reached or did not answer"]),
    ],
)
@pytest.mark.parametrize(
    ("refused", "call", "action"),
    [
        ("POST .*/pipelineJobs", lambda: vertex_client.submit(RUNNER, SPEC), "submit the pipeline"),
        ("POST .*/schedules", create, "create the schedule"),
        ("GET .*/schedules", lambda: vertex_client.list_schedules(RUNNER), "list the schedules"),
        ("GET .*/schedules", lambda: vertex_client.delete_schedule(RUNNER, "a"), "delete the schedule a"),
    ],
)
def test_errors_say_where_and_what_to_do(vertex, code, status, words, refused, call, action):
    vertex.refusals[refused] = (code, status, "the reason in Google's words")
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert message.startswith(f"to {action} in project my-project, region europe-west4 ")
    assert all(word in message for word in [*words, "the reason in Google's words"])
    verb, path = refused.split(" .*")
    # No retries, but for a new token where the old one is not taken.
    assert len(vertex.list_requests(verb, path)) == (3 if code == 401 else 1)


def test_an_unreachable_api_is_an_error_at_once(vertex, monkeypatch):
    from google.cloud.aiplatform import initializer

    monkeypatch.setattr(initializer.global_config, "_api_endpoint", "127.0.0.1:9")
    with pytest.raises(UserError, match="to list the schedules in project my-project.* could not be reached"):
        vertex_client.list_schedules(RUNNER)


@pytest.mark.parametrize("given", [None, "missing.json"])
def test_missing_credentials_are_found_before_anything_is_sent(vertex, monkeypatch, given):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    if given:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", given)
    for call in (lambda: vertex_client.submit(RUNNER, SPEC), create, lambda: vertex_client.list_schedules(RUNNER)):
        with pytest.raises(UserError) as caught:
            call()
        message = str(caught.value)
        for way in ("gcloud auth application-default login", "GOOGLE_APPLICATION_CREDENTIALS", "workload identity"):
            assert way in message
        assert (given or "") in message
    assert vertex.requests == []
