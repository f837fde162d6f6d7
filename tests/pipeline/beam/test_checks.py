"""What is wrong with a `beam` section is found before anything runs, by Beam's own parsers, without a service."""

import re
from pathlib import Path

import pytest
import yaml

from configs.load import parse_runner
from configs.runner_schema import BeamSection
from pipeline.beam.checks import find_beam_problems
from pipeline.beam.options import make_beam_args

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "registry.example/lm:1"
TEMP = "gs://bucket/root"
DATAFLOW = {"project": "my-project", "region": "europe-west1"}
FLINK = {"flink_master": "flink.example:8081"}
SPARK = {"spark_master_url": "spark://spark.example:7077"}


def find(section, image=IMAGE, temp_root=TEMP):
    problems = find_beam_problems(BeamSection.model_validate(section), image=image, temp_root=temp_root)
    return {problem.key: problem.message for problem in problems}


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"mode": "multi_processing"},
        {"mode": "multi_processing", "workers": 2},
        {"options": {"direct_runner_bundle_repeat": 1, "default_sdk_harness_log_level": "ERROR"}},
        {"runner": "dataflow", "options": DATAFLOW},
        {
            "runner": "dataflow",
            "options": {**DATAFLOW, "num_workers": 2, "max_num_workers": 2, "use_public_ips": False},
        },
        {"runner": "dataflow", "options": {**DATAFLOW, "autoscaling_algorithm": "NONE", "num_workers": 4}},
        {
            "runner": "dataflow",
            "options": {**DATAFLOW, "experiments": ["a=b"], "sdk_harness_log_level_overrides": ['{"a": "INFO"}']},
        },
        {"runner": "flink", "options": FLINK},
        {"runner": "flink", "options": {**FLINK, "parallelism": 2, "max_parallelism": 4, "job_name": "a"}},
        {
            "runner": "flink",
            "options": {"job_endpoint": "a:1", "environment_type": "EXTERNAL", "environment_config": "b:2"},
        },
        {"runner": "spark", "options": SPARK},
        {"runner": "spark", "options": {**SPARK, "spark_submit_uber_jar": True, "spark_rest_url": "a:1"}},
        {"runner": "spark", "options": {**SPARK, "environment_options": ["docker_container_image=other:2"]}},
    ],
)
def test_all_is_well(section):
    assert find(section) == {}


def test_every_problem_at_once():
    options = {"flink_mastr": "a:1", "parallelism": "many", "no_wait_until_finish": True, "num_workers": 2}
    found = find({"runner": "flink", "mode": "multi_processing", "workers": 3, "options": options}, image=None)
    assert set(found) == {
        "beam.mode",
        "beam.workers",
        *(f"beam.options.{name}" for name in (*options, "flink_master", "environment_type")),
    }


def test_the_key_is_the_callers():
    problems = find_beam_problems(BeamSection(workers=2), key="data.beam")
    assert [problem.key for problem in problems] == ["data.beam.workers"]


@pytest.mark.parametrize(
    ("section", "key", "part"),
    [
        ({"workers": 2}, "workers", "needs `mode: multi_processing`. Received: 2 with in_memory"),
        # Names.
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "machin_type": "n2-standard-4"}},
            "options.machin_type",
            "unknown option of Beam for dataflow. Did you mean `machine_type`?",
        ),
        (
            {"options": {"num_workers": 2}},
            "options.num_workers",
            "is an option of dataflow, and direct does not read it",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "job_endpoint": "a:1"}},
            "options.job_endpoint",
            "is an option of flink, spark, and dataflow does not",
        ),
        (
            {"runner": "spark", "options": {**SPARK, **FLINK}},
            "options.flink_master",
            "is an option of flink, and spark",
        ),
        # Values.
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "num_workers": "many"}},
            "options.num_workers",
            "must be an integer. Received: 'many'",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "num_workers": 2.5}},
            "options.num_workers",
            "must be an integer",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "num_workers": True}},
            "options.num_workers",
            "must be a value, not true or false",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "profile_sample_rate": "often"}},
            "options.profile_sample_rate",
            "must be a number",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "autoscaling_algorithm": "FAST"}},
            "options.autoscaling_algorithm",
            "must be one of NONE, THROUGHPUT_BASED. Received: 'FAST'",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "enable_hot_key_logging": "yes"}},
            "options.enable_hot_key_logging",
            "must be true or false. Received: 'yes'",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "network": ["a", "b"]}},
            "options.network",
            "must be one value, not a list",
        ),
        ({"options": {"direct_test_splits": "{"}}, "options.direct_test_splits", "Beam does not take the value"),
        (
            {"runner": "flink", "options": {**FLINK, "flink_version": "1.0"}},
            "options.flink_version",
            "must be one of 1.19",
        ),
        (
            {"runner": "flink", "options": {**FLINK, "environment_type": "EXTERNL"}},
            "options.environment_type",
            "Did you mean `EXTERNAL`?",
        ),
        # What is not for the options.
        ({"options": {"runner": "FlinkRunner"}}, "options.runner", "`beam.runner` says so"),
        ({"options": {"direct_running_mode": "multi_processing"}}, "options.direct_running_mode", "`beam.mode`"),
        ({"options": {"direct_num_workers": 2}}, "options.direct_num_workers", "`beam.workers`"),
        ({"options": {"prism_location": "/prism"}}, "options.prism_location", "downloads"),
        ({"options": {"sdk_container_image": "a"}}, "options.sdk_container_image", "processes of this environment"),
        (
            {"runner": "flink", "options": {**FLINK, "worker_harness_container_image": "a"}},
            "options.worker_harness_container_image",
            "old name of `sdk_container_image`",
        ),
        ({"runner": "dataflow", "options": {**DATAFLOW, "streaming": True}}, "options.streaming", "batch pipelines"),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "job_name": "a"}},
            "options.job_name",
            "cannot run side by side",
        ),
        (
            {"runner": "flink", "options": {**FLINK, "output_executable_path": "a.jar"}},
            "options.output_executable_path",
            "read",
        ),
        (
            {"runner": "flink", "options": {**FLINK, "s3_secret_access_key": "hush"}},
            "options.s3_secret_access_key",
            "environment",
        ),
        # What a runner needs.
        ({"runner": "dataflow", "options": {"region": "a"}}, "options.project", "dataflow needs it"),
        ({"runner": "dataflow", "options": {"project": "my-project"}}, "options.region", "such as us-central1"),
        ({"runner": "dataflow", "options": {**DATAFLOW, "region": ""}}, "options.region", "dataflow needs it"),
        ({"runner": "flink"}, "options.flink_master", "or `job_endpoint`"),
        ({"runner": "spark"}, "options.spark_master_url", "or `job_endpoint`"),
        (
            {"runner": "spark", "options": {**SPARK, "spark_submit_uber_jar": True}},
            "options.spark_rest_url",
            "host:port",
        ),
        (
            {"runner": "flink", "options": {**FLINK, "environment_type": "EXTERNAL"}},
            "options",
            "external_service_address",
        ),
        ({"runner": "flink", "options": {**FLINK, "environment_type": "PROCESS"}}, "options", "process_command"),
        # What does not go together.
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "num_workers": 4, "max_num_workers": 2}},
            "options",
            "num_workers (4) cannot exceed max_num_workers (2)",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "autoscaling_algorithm": "NONE", "max_num_workers": 8}},
            "options.max_num_workers",
            "has no effect with `autoscaling_algorithm: NONE`",
        ),
        ({"runner": "dataflow", "options": {**DATAFLOW, "max_num_workers": 0}}, "options", "needs to be positive"),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "worker_region": "a", "worker_zone": "b"}},
            "options",
            "exclusive",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "project": "My Project"}},
            "options",
            "Invalid Project ID (My Project)",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "temp_location": "/tmp"}},
            "options",
            "Invalid GCS path (/tmp)",
        ),
        (
            {"runner": "dataflow", "options": {**DATAFLOW, "staging_location": "gs://B!/a"}},
            "options",
            "Invalid GCS bucket",
        ),
        (
            {"runner": "flink", "options": {**FLINK, "parallelism": 4, "max_parallelism": 2}},
            "options.parallelism",
            "must be at most max_parallelism (2). Received: 4",
        ),
        (
            {"runner": "spark", "options": {**SPARK, "environment_type": "LOOPBACK", "environment_config": "a"}},
            "options",
            "environment_config is not compatible with environment type LOOPBACK",
        ),
    ],
)
def test_problem(section, key, part):
    found = find(section)
    assert list(found) == [f"beam.{key}"]
    assert part in found[f"beam.{key}"]


def test_secrets_are_not_repeated():
    assert "hush" not in str(find({"options": {"azure_connection_string": "hush"}}))


def test_dataflow_without_image_and_bucket():
    found = find({"runner": "dataflow", "options": DATAFLOW}, image=None, temp_root="/mnt/runs")
    assert set(found) == {"beam.options.sdk_container_image", "beam.options.temp_location"}


@pytest.mark.parametrize(("runner", "options"), [("flink", FLINK), ("spark", SPARK)])
def test_workers_without_image(runner, options):
    assert set(find({"runner": runner, "options": options}, image=None)) == {"beam.options.environment_type"}
    for more, expected in (
        ({"environment_type": "LOOPBACK"}, set()),
        ({"environment_type": "DOCKER"}, {"beam.options.environment_config"}),
        ({"environment_type": "DOCKER", "environment_config": IMAGE}, set()),
        ({"sdk_container_image": IMAGE}, set()),
    ):
        assert set(find({"runner": runner, "options": {**options, **more}}, image=None)) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"runner": "apache_beam.runners.dask.dask_runner.DaskRunner"},
        {"runner": "DaskRunner"},
        {"experiments": ["runner=x", "apache_beam.runners.dask.dask_runner.DaskRunner"]},
        {"dask_client_address": "a:1"},
    ],
)
def test_dask_is_refused_wherever_it_stands(options):
    (message,) = find({"options": options}).values()
    assert message.startswith("DaskRunner is refused")


def test_a_name_that_contains_dask_is_none_of_it():
    assert find({"runner": "dataflow", "options": {**DATAFLOW, "network": "dask", "labels": ["team=dask"]}}) == {}


BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/beam.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_document_has_a_block_for_each_runner():
    runners = [yaml.safe_load(block)["beam"].get("runner", "direct") for block in BLOCKS]
    assert set(runners) == {"direct", "flink", "spark", "dataflow"}


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_of_the_document(block):
    runner, problems = parse_runner({"kind": "local", **yaml.safe_load(block)})
    assert problems == []
    # As they stand: without the `image` and the bucket that other runners add.
    assert find_beam_problems(runner.beam) == []
    assert make_beam_args(runner.beam)[0].startswith("--runner=")
