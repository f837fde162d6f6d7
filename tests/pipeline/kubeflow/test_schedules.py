"""Schedules on Kubeflow Pipelines, with kfp's own client against its API on a loopback port."""

import dataclasses
import datetime
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import UserError
from pipeline.kubeflow import schedules as kubeflow_schedules
from pipeline.kubeflow.client import submit
from pipeline.kubeflow.schedules import create_schedule, list_schedules, pause_schedule, resume_schedule

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = {"catch_up": False, "max_concurrency": 1}


def test_a_schedule_is_made_listed_paused_resumed_and_deleted(kubeflow_server, kubeflow_runner, tiny_spec):
    made = create_schedule(kubeflow_runner, tiny_spec, "0 3 * * MON", timezone="UTC", catch_up=True, max_concurrency=3)
    schedule = made.schedule
    (held,) = kubeflow_server.recurring_runs.values()
    assert held["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * MON"}}
    assert (held["no_catchup"], held["max_concurrency"], held["mode"]) == (False, "3", "ENABLE")
    assert held["runtime_config"] == {"parameters": tiny_spec.parameters}
    assert (held["service_account"], held["description"]) == ("trainer", "0 3 * * MON (UTC)")
    assert held["pipeline_version_reference"]["pipeline_version_id"] in kubeflow_server.versions
    assert schedule == kubeflow_schedules.Schedule(
        id=held["recurring_run_id"],
        name=held["display_name"],
        pipeline_name="tiny",
        cron="0 3 * * MON",
        enabled=True,
        catch_up=True,
        max_concurrency=3,
        parameters=tiny_spec.parameters,
        created_at=datetime.datetime.fromisoformat(held["created_at"]),
    )
    assert (made.is_new, made.replaced, made.others) == (True, (), ())
    assert re.fullmatch("tiny-[0-9a-f]{12}", schedule.name)
    assert list_schedules(kubeflow_runner) == list_schedules(kubeflow_runner, "tiny") == [schedule]
    assert list_schedules(kubeflow_runner, "another") == []

    paused = pause_schedule(kubeflow_runner, schedule.name)
    assert [paused] == list_schedules(kubeflow_runner) and not paused.enabled
    assert resume_schedule(kubeflow_runner, schedule.id) == schedule
    assert list_schedules(kubeflow_runner) == [schedule]
    assert kubeflow_schedules.delete_schedule(kubeflow_runner, schedule.id) == schedule
    assert list_schedules(kubeflow_runner) == []


def test_the_same_schedule_twice_is_one(kubeflow_server, kubeflow_runner, tiny_spec):
    first = create_schedule(kubeflow_runner, tiny_spec, "@weekly", **OPTIONS)
    pause_schedule(kubeflow_runner, first.schedule.id)
    second = create_schedule(kubeflow_runner, tiny_spec, "0 0 * * 0", timezone="UTC", **OPTIONS)
    assert (second.schedule.id, second.is_new) == (first.schedule.id, False)
    # It was paused on purpose.
    assert not second.schedule.enabled
    assert len(kubeflow_server.recurring_runs) == 1


def test_it_can_be_made_paused_and_without_catching_up(kubeflow_server, kubeflow_runner, tiny_spec):
    made = create_schedule(kubeflow_runner, tiny_spec, "@daily", enabled=False, **OPTIONS)
    (held,) = kubeflow_server.recurring_runs.values()
    assert (held["mode"], held["no_catchup"]) == ("DISABLE", True)
    assert (made.schedule.enabled, made.schedule.catch_up) == (False, False)


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 4 * * *"},
        {"catch_up": True},
        {"max_concurrency": 2},
        {"steps": 8},
        {"image": "image:other"},
        {"experiment": "other"},
        {"service_account": None},
        {"schedule_timezone": "Europe/Berlin"},
    ],
)
def test_another_schedule_stands_beside_the_first_or_replaces_it(kubeflow_server, kubeflow_runner, tiny_spec, change):
    first = create_schedule(kubeflow_runner, tiny_spec, "0 3 * * *", **OPTIONS).schedule
    text = tiny_spec.text.replace("image:tag", change.get("image", "image:tag"))
    parameters = tiny_spec.parameters | {key: change[key] for key in ("steps",) if key in change}
    other_spec = dataclasses.replace(tiny_spec, text=text, parameters=parameters)
    keys = ("experiment", "service_account", "schedule_timezone")
    other_runner = kubeflow_runner.model_copy(update={key: change[key] for key in keys if key in change})
    options = {key: change.get(key, OPTIONS[key]) for key in OPTIONS}
    cron = change.get("cron", "0 3 * * *")
    second = create_schedule(other_runner, other_spec, cron, **options)
    assert (second.is_new, second.replaced, second.others) == (True, (), (first,))
    again = create_schedule(other_runner, other_spec, cron, replace=True, **options)
    assert (again.schedule, again.is_new) == (second.schedule, False)
    assert (again.replaced, again.others) == ((first,), ())
    assert list(kubeflow_server.recurring_runs) == [second.schedule.id]


def test_schedules_of_others_are_never_replaced(kubeflow_server, kubeflow_runner, tiny_spec):
    by_hand = create_schedule(kubeflow_runner, tiny_spec, "0 3 * * *", **OPTIONS).schedule
    kubeflow_server.recurring_runs[by_hand.id]["display_name"] = "by hand"
    kubeflow_server.recurring_runs[by_hand.id]["trigger"] = {"periodic_schedule": {"interval_second": "3600"}}
    longer = dataclasses.replace(tiny_spec, pipeline_name="tiny-two")
    of_another = create_schedule(kubeflow_runner, longer, "0 3 * * *", **OPTIONS)
    assert of_another.others == ()
    made = create_schedule(kubeflow_runner, tiny_spec, "0 4 * * *", replace=True, **OPTIONS)
    assert made.replaced == ()
    assert [(s.name, s.cron) for s in made.others] == [("by hand", "every 3600 s")]
    assert len(list_schedules(kubeflow_runner)) == 3


def test_all_pages_are_read(kubeflow_server, kubeflow_runner, tiny_spec):
    made = [create_schedule(kubeflow_runner, tiny_spec, f"0 {hour} * * *", **OPTIONS).schedule for hour in range(5)]
    kubeflow_server.page_size = 2
    kubeflow_server.requests.clear()
    assert list_schedules(kubeflow_runner) == made
    assert kubeflow_server.count("GET", "recurringruns") == 3
    assert create_schedule(kubeflow_runner, tiny_spec, "0 4 * * *", **OPTIONS).schedule == made[4]


def test_a_schedule_whose_pipeline_is_gone_is_listed(kubeflow_server, kubeflow_runner, tiny_spec):
    schedule = create_schedule(kubeflow_runner, tiny_spec, "@daily", **OPTIONS).schedule
    (pipeline_id,) = kubeflow_server.pipelines
    kubeflow_server.pipelines.clear()
    assert [(s.id, s.pipeline_name) for s in list_schedules(kubeflow_runner)] == [(schedule.id, pipeline_id)]
    kubeflow_server.recurring_runs[schedule.id].pop("pipeline_version_reference")
    assert [s.pipeline_name for s in list_schedules(kubeflow_runner)] == [""]


def test_the_namespace_is_the_runners(kubeflow_server, tiny_spec, make_kubeflow_runner):
    ours, theirs = (make_kubeflow_runner(kubeflow_server.host, namespace=name) for name in ("ours", "theirs"))
    submit(ours, tiny_spec)
    assert [p["namespace"] for p in kubeflow_server.pipelines.values()] == ["ours"]
    assert [e["namespace"] for e in kubeflow_server.experiments.values()] == ["ours"]
    schedule = create_schedule(ours, tiny_spec, "@daily", **OPTIONS).schedule
    kubeflow_server.recurring_runs[schedule.id]["namespace"] = "ours"
    assert (len(list_schedules(ours)), list_schedules(theirs)) == (1, [])


def test_an_unknown_schedule_lists_the_known_ones(kubeflow_server, kubeflow_runner, tiny_spec):
    with pytest.raises(UserError, match="must be the name or id of a schedule. Received: 'x'. Schedules: none."):
        pause_schedule(kubeflow_runner, "x")
    made = create_schedule(kubeflow_runner, tiny_spec, "@daily", **OPTIONS).schedule
    with pytest.raises(UserError) as caught:
        kubeflow_schedules.delete_schedule(kubeflow_runner, made.name[:-1])
    assert f"Did you mean `{made.name}`?" in str(caught.value)
    assert f"\n  {made.name} (id {made.id})" in str(caught.value)
    twin = create_schedule(kubeflow_runner, tiny_spec, "@weekly", **OPTIONS).schedule
    kubeflow_server.recurring_runs[twin.id]["display_name"] = made.name
    with pytest.raises(UserError, match=f"names 2. Give an id: {made.id}, {twin.id}"):
        pause_schedule(kubeflow_runner, made.name)
    assert not pause_schedule(kubeflow_runner, twin.id).enabled


def test_wrong_arguments_are_told_all_at_once_before_anything_is_sent(kubeflow_server, kubeflow_runner, tiny_spec):
    with pytest.raises(UserError) as caught:
        create_schedule(
            kubeflow_runner, tiny_spec, "0 0 30 2 *", timezone="Europe/Berlin", catch_up=False, max_concurrency=11
        )
    lines = str(caught.value).splitlines()
    assert [line.split(" must ")[0] for line in lines] == ["the cron expression", "the time zone", "the concurrency"]
    assert "write `schedule_timezone: Europe/Berlin` into the runner's YAML" in lines[1]
    with pytest.raises(UserError, match="the time zone must be an IANA name"):
        create_schedule(kubeflow_runner, tiny_spec, "@daily", timezone="Berlin", **OPTIONS)
    assert kubeflow_server.requests == []


def test_the_installations_time_zone(kubeflow_server, tiny_spec, make_kubeflow_runner):
    kubeflow_runner = make_kubeflow_runner(kubeflow_server.host, schedule_timezone="Europe/Berlin")
    create_schedule(kubeflow_runner, tiny_spec, "0 3 * * *", timezone="Europe/Berlin", **OPTIONS)
    (held,) = kubeflow_server.recurring_runs.values()
    assert held["description"] == "0 3 * * * (Europe/Berlin)"
    with pytest.raises(UserError, match="must be Europe/Berlin"):
        create_schedule(kubeflow_runner, tiny_spec, "0 3 * * *", timezone="UTC", **OPTIONS)
    with pytest.raises(ValueError, match="must be an IANA name"):
        make_kubeflow_runner(None, schedule_timezone="Berlin")


@pytest.mark.parametrize(
    ("verb", "method", "path"),
    [("pause", "POST", "{}:disable"), ("resume", "POST", "{}:enable"), ("delete", "DELETE", "{}")],
)
def test_a_schedule_that_vanishes_meanwhile(kubeflow_server, kubeflow_runner, tiny_spec, verb, method, path):
    schedule = create_schedule(kubeflow_runner, tiny_spec, "@daily", **OPTIONS).schedule
    kubeflow_server.force(method, f"recurringruns/{path.format(schedule.id)}", 404)
    with pytest.raises(UserError, match=f"to {verb} the schedule {schedule.name} must exist.*deleted meanwhile"):
        getattr(kubeflow_schedules, f"{verb}_schedule")(kubeflow_runner, schedule.id)


def test_a_failed_replacement_leaves_both_and_is_mended_by_the_same_call(kubeflow_server, kubeflow_runner, tiny_spec):
    first = create_schedule(kubeflow_runner, tiny_spec, "0 3 * * *", **OPTIONS).schedule
    kubeflow_server.force("DELETE", f"recurringruns/{first.id}", 403)
    with pytest.raises(UserError, match=f"delete the schedule {first.name}"):
        create_schedule(kubeflow_runner, tiny_spec, "0 4 * * *", replace=True, **OPTIONS)
    assert len(kubeflow_server.recurring_runs) == 2
    kubeflow_server.answers.clear()
    assert create_schedule(kubeflow_runner, tiny_spec, "0 4 * * *", replace=True, **OPTIONS).replaced == (first,)
    assert len(kubeflow_server.recurring_runs) == 1


def test_kfp_is_imported_only_when_it_is_needed():
    code = "import sys, pipeline.kubeflow.schedules; print('kfp' in sys.modules, 'kfp_server_api' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
