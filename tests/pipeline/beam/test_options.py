"""Beam's arguments: what Beam's own parsers make of them, and pipelines that run with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.runner_schema import BeamSection
from pipeline.beam.options import make_beam_args

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "registry.example/lm:1"
MULTI = BeamSection(mode="multi_processing", workers=2)
CLOUD = {"project": "my-project", "region": "europe-west1"}


def parse(args):
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(args).get_all_options(drop_default=True)


def test_direct_needs_no_download_and_builds_no_package():
    assert make_beam_args(BeamSection(), image=IMAGE, job_prefix="a", temp_root="gs://b") == [
        "--runner=DirectRunner",
        "--prism_location=/nonexistent",
        "--sdk_container_image=none",
    ]


def test_tfx_adds_no_package():
    from tfx.utils.dependency_utils import make_beam_dependency_flags

    for beam in (BeamSection(), BeamSection(runner="flink", options={"environment_type": "LOOPBACK"})):
        args = make_beam_args(beam)
        assert make_beam_dependency_flags(list(args)) == args


def test_direct_with_processes():
    parsed = parse(make_beam_args(MULTI))
    assert parsed["direct_running_mode"] == "multi_processing"
    assert parsed["direct_num_workers"] == 2
    assert parsed["beam_plugins"] == ["tfx"]


def test_dataflow():
    options = {
        **CLOUD,
        "num_workers": 2,
        "max_num_workers": 8,
        "autoscaling_algorithm": "THROUGHPUT_BASED",
        "machine_type": "n2-standard-4",
        "disk_size_gb": 50,
        "subnetwork": "regions/europe-west1/subnetworks/workers",
        "use_public_ips": False,
        "service_account_email": "beam@my-project.iam.gserviceaccount.com",
        "experiments": ["upload_graph", "min_num_workers=1"],
        "dataflow_service_options": ["enable_prime"],
        "labels": ["team=text"],
        "beam_plugins": ["mine"],
        "enable_hot_key_logging": True,
    }
    args = make_beam_args(
        BeamSection(runner="dataflow", options=options),
        image=IMAGE,
        job_prefix="Tiny_LoRA",
        temp_root="gs://bucket/base/",
    )
    assert parse(args) == {
        **options,
        "runner": "DataflowRunner",
        "sdk_container_image": IMAGE,
        "temp_location": "gs://bucket/base/beam/temp",
        "staging_location": "gs://bucket/base/beam/staging",
        "save_main_session": False,
        "labels": ["pipeline=tiny-lora", "team=text"],
        "beam_plugins": ["tfx", "mine"],
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temp_location", "gs://other/temp"),
        ("staging_location", "gs://other/staging"),
        ("sdk_container_image", "other:2"),
        ("save_main_session", True),
    ],
)
def test_options_replace_defaults(name, value):
    beam = BeamSection(runner="dataflow", options={**CLOUD, name: value})
    args = make_beam_args(beam, image=IMAGE, temp_root="gs://bucket/base")
    assert parse(args)[name] == value
    assert len([arg for arg in args if name in arg]) == 1


@pytest.mark.parametrize("plural", ["", "s"])
def test_labels_and_plugins_stay_beside_ours(plural):
    beam = BeamSection(runner="dataflow", options={f"label{plural}": "team=text", f"beam_plugin{plural}": "mine"})
    parsed = parse(make_beam_args(beam, job_prefix="a"))
    assert parsed["labels"] == ["pipeline=a", "team=text"]
    assert parsed["beam_plugins"] == ["tfx", "mine"]


def test_what_dataflow_would_be_asked_for():
    """The job that the client makes in a dry run, which reaches no service."""
    import apache_beam as beam
    from apache_beam.runners.dataflow.internal import apiclient

    options = {**CLOUD, "num_workers": 2, "max_num_workers": 8, "autoscaling_algorithm": "THROUGHPUT_BASED"}
    section = BeamSection(runner="dataflow", options=options)
    args = make_beam_args(section, image=IMAGE, job_prefix="tiny", temp_root="gs://bucket/base")
    pipeline = beam.Pipeline(argv=[*args, "--dry_run=true"])
    _ = pipeline | beam.Create([1]) | beam.Map(lambda x: x)
    job = pipeline.run().job
    assert dict(job.proto.labels) == {"pipeline": "tiny"}
    environment = apiclient.Environment([], job.options, "8", "url", job.proto_pipeline).proto
    (pool,) = environment.worker_pools
    assert [image.container_image for image in pool.sdk_harness_container_images] == [IMAGE]
    assert (pool.num_workers, pool.autoscaling_settings.max_num_workers) == (2, 8)
    assert environment.temp_storage_prefix.startswith("storage.googleapis.com/bucket/base/beam/temp/")
    # Needed by images of our own; Beam asks for it without being told.
    assert "use_runner_v2" in environment.experiments


def test_flink_starts_its_job_server():
    options = {
        "flink_master": "flink.example:8081",
        "flink_version": "1.20",
        "parallelism": 4,
        "max_parallelism": 8,
        "artifacts_dir": "/mnt/artifacts",
        "job_server_jvm_properties": ["-Xmx1g"],
        "sdk_worker_parallelism": "2",
    }
    parsed = parse(make_beam_args(BeamSection(runner="flink", options=options), image=IMAGE, job_prefix="tiny"))
    assert parsed == {
        **options,
        "runner": "FlinkRunner",
        "job_name": "tiny",
        "environment_type": "DOCKER",
        "environment_config": IMAGE,
        "sdk_container_image": IMAGE,
        "beam_plugins": ["tfx"],
    }


def test_spark_starts_its_job_server():
    options = {"spark_master_url": "spark://spark.example:7077", "job_server_timeout": 60}
    parsed = parse(make_beam_args(BeamSection(runner="spark", options=options), image=IMAGE))
    assert parsed == {
        **options,
        "runner": "SparkRunner",
        "environment_type": "DOCKER",
        "environment_config": IMAGE,
        "sdk_container_image": IMAGE,
        "beam_plugins": ["tfx"],
    }


@pytest.mark.parametrize("runner", ["flink", "spark"])
def test_a_job_server_and_a_worker_pool_that_run_already(runner):
    options = {
        "job_endpoint": "jobs.example:8099",
        "artifact_endpoint": "jobs.example:8098",
        "environment_type": "EXTERNAL",
        "environment_config": "pool.example:50000",
    }
    parsed = parse(make_beam_args(BeamSection(runner=runner, options=options), image=IMAGE))
    assert parsed == {
        **options,
        "runner": "PortableRunner",
        "sdk_container_image": IMAGE,
        "beam_plugins": ["tfx"],
    }


def test_the_image_is_not_given_twice():
    beam = BeamSection(runner="flink", options={"environment_options": ["docker_container_image=other:2"]})
    parsed = parse(make_beam_args(beam, image=IMAGE))
    assert parsed["environment_type"] == "DOCKER"
    assert "environment_config" not in parsed


def test_the_same_section_gives_the_same_arguments():
    beam = BeamSection(runner="flink", options={"job_endpoint": "a:1"})
    assert make_beam_args(beam, image=IMAGE, job_prefix="a") == make_beam_args(beam, image=IMAGE, job_prefix="a")


def test_making_arguments_imports_no_beam():
    code = (
        "import sys\n"
        "from configs.runner_schema import BeamSection\n"
        "from pipeline.beam.options import make_beam_args\n"
        "from pipeline.beam.checks import find_beam_problems\n"
        "beam = BeamSection(mode='multi_processing')\n"
        "print(make_beam_args(beam)[0], find_beam_problems(beam), 'apache_beam' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "--runner=DirectRunner [] False", done.stderr


def run_pids(args, folder):
    """Runs a pipeline that doubles numbers; returns the results and the processes that computed them."""
    import apache_beam as beam

    # By value, as workers cannot import this module.
    def double(number):
        import os

        return f"{2 * number} {os.getpid()}"

    with beam.Pipeline(argv=args) as pipeline:
        _ = (
            pipeline
            | beam.Create(list(range(50)))
            | beam.Reshuffle()
            | beam.Map(double)
            | beam.io.WriteToText(str(folder / "out"))
        )
    lines = [line.split() for path in folder.glob("out-*") for line in path.read_text().splitlines()]
    return sorted(int(number) for number, _ in lines), {int(pid) for _, pid in lines}


def test_processes_of_the_direct_runner(tmp_path):
    numbers, pids = run_pids(make_beam_args(MULTI), tmp_path)
    assert numbers == [2 * n for n in range(50)]
    assert os.getpid() not in pids
    assert len(pids) == 2


def test_one_process_of_the_direct_runner(tmp_path):
    numbers, pids = run_pids(make_beam_args(BeamSection()), tmp_path)
    assert numbers == [2 * n for n in range(50)]
    assert pids == {os.getpid()}


@pytest.mark.parametrize("runner", ["flink", "spark"])
def test_a_job_runs_through_a_job_server_and_a_worker_pool(runner, tmp_path):
    """Beam's own job server and worker pool on this machine."""
    from apache_beam.runners.portability.local_job_service import LocalJobServicer
    from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

    jobs = LocalJobServicer(str(tmp_path / "staging"))
    port = jobs.start_grpc_server()
    address, pool = BeamFnExternalWorkerPoolServicer.start()
    try:
        options = {
            "job_endpoint": f"localhost:{port}",
            "environment_type": "EXTERNAL",
            "environment_config": address,
        }
        numbers, _ = run_pids(make_beam_args(BeamSection(runner=runner, options=options), job_prefix="a"), tmp_path)
    finally:
        pool.stop(0)
        jobs.stop()
    assert numbers == [2 * n for n in range(50)]


def compute_statistics(folder, args):
    """Runs StatisticsGen's executor on twenty examples; returns the number that it counted."""
    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import statistics_pb2
    from tfx.components.statistics_gen.executor import Executor
    from tfx.components.util import examples_utils
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.proto import example_gen_pb2
    from tfx.types import artifact_utils, standard_artifacts

    examples, statistics = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
    examples.uri, statistics.uri = str(folder / "examples"), str(folder / "statistics")
    examples.split_names = artifact_utils.encode_split_names(["train"])
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    split = folder / "examples" / "Split-train"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data.gz"), "GZIP") as writer:
        for number in range(20):
            example = tf.train.Example()
            example.features.feature["number"].int64_list.value.append(number)
            writer.write(example.SerializeToString())
    context = BaseBeamExecutor.Context(beam_pipeline_args=args, tmp_dir=str(folder), unique_id="1")
    Executor(context).Do({"examples": [examples]}, {"statistics": [statistics]}, {"exclude_splits": "[]"})
    written = (folder / "statistics" / "Split-train" / "FeatureStats.pb").read_bytes()
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(written).datasets[0].num_examples


def test_statistics_in_processes(tmp_path):
    assert compute_statistics(tmp_path, make_beam_args(MULTI)) == 20


def test_statistics_in_processes_need_the_plugin(tmp_path):
    """When this fails, TensorFlow Data Validation imports without `tfx`: take the plugin out of `pipeline.beam.options`."""
    args = [arg for arg in make_beam_args(MULTI) if arg != "--beam_plugin=tfx"]
    assert len(args) == 5
    with pytest.raises(RuntimeError, match="sql_util"):
        compute_statistics(tmp_path, args)


@pytest.fixture
def dask_pipeline():
    """`dask_pipeline() -> Pipeline` on a cluster of Dask in this process."""
    distributed = pytest.importorskip("dask.distributed", reason="needs dask and distributed, which nothing else needs")
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.dask.dask_runner import DaskRunner

    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    options = PipelineOptions([f"--dask_client_address={cluster.scheduler_address}"])
    yield lambda: beam.Pipeline(runner=DaskRunner(), options=options)
    distributed.default_client().close()  # DaskRunner leaves it open.
    cluster.close()


def test_dask_cannot_read_records(dask_pipeline, tmp_path):
    """When this or the next one fails, see whether the refusal in configs/refused_runners.py can go."""
    import apache_beam as beam
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "in")) as writer:
        writer.write(b"a")
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'map'"), dask_pipeline() as pipeline:
        _ = pipeline | beam.io.ReadFromTFRecord(str(tmp_path / "in")) | beam.Map(len)


def test_dask_writes_empty_files(dask_pipeline, tmp_path):
    import apache_beam as beam

    with dask_pipeline() as pipeline:
        _ = pipeline | beam.Create([b"a", b"b"]) | beam.io.WriteToTFRecord(str(tmp_path / "out"))
    assert [path.stat().st_size for path in tmp_path.glob("out-*")] == [0]
