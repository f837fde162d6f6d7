"""Compiles a run for Vertex AI Pipelines, through TFX's `KubeflowV2DagRunner`."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import yaml

from components.example_gen import vertex_driver
from components.places import ROOT
from configs.runner_schema import VertexRunnerConfig, find_resources
from configs.schema import RunConfig
from pipeline.beam.options import make_beam_args
from pipeline.paths import PIPELINE_ROOT, PUSH_DESTINATION, make_places
from pipeline.platforms import Platform, locate_in_image
from pipeline.specs.parameters import make_key_parameters, to_parameter_name

_TFX_DRIVER = "tfx.orchestration.kubeflow.v2.file_based_example_gen.driver"


def compile_for_vertex(config: RunConfig, runner: VertexRunnerConfig) -> dict[str, Any]:
    """Compiles; to be called in a process that has TFX.

    Returns:
        The fields of `CompiledSpec`.
    """
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline.pipeline import create_pipeline

    assert runner.image is not None
    root = runner.pipeline_root.rstrip("/")
    name = config.pipeline.name
    pipeline = create_pipeline(
        config,
        places=make_places(ROOT, name),
        beam_pipeline_args=make_beam_args(runner.beam, image=runner.image, job_prefix=name, temp_root=root),
        platform=_make_platform(runner),
    )
    with tempfile.TemporaryDirectory() as folder:
        kubeflow_v2_dag_runner.KubeflowV2DagRunner(
            config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
                default_image=runner.image, use_pipeline_spec_2_1=True
            ),
            output_dir=folder,
            output_filename="pipeline.json",
        ).run(pipeline, write_out=True)
        job = json.loads((Path(folder) / "pipeline.json").read_text(encoding="utf-8"))
    spec = job["pipelineSpec"]
    spec["defaultPipelineRoot"] = root
    _use_our_driver(spec)
    _set_resources(spec, runner)
    destination = {"filesystem": {"base_directory": make_places(root, name).serving}}
    parameters = make_key_parameters(config, runner, locate_in_image(config.data.path)) | {
        PIPELINE_ROOT: root,
        PUSH_DESTINATION: json.dumps(destination),
    }
    # A value of a parameter that no node reads would be taken for one that changes the run, and be refused when it is submitted.
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    parameters = {name: value for name, value in parameters.items() if name in known}
    text = yaml.safe_dump(spec, sort_keys=True, allow_unicode=True, width=4096)
    return {"pipeline_name": name, "text": text, "parameters": parameters}


def _make_platform(runner: VertexRunnerConfig) -> Platform:
    from tfx.orchestration.data_types import RuntimeParameter

    keys = {key: RuntimeParameter(name=to_parameter_name(key), ptype=str) for key in runner.parameters}
    more: dict[str, Any] = {}
    if runner.trainer is not None:
        from components.trainer.vertex_executor import VertexExecutor
        from pipeline.vertex.trainer import make_custom_job_config

        assert runner.image is not None
        more = {
            "trainer_executor": VertexExecutor,
            "trainer_config": make_custom_job_config(runner, runner.image),
        }
    if runner.endpoint is not None:
        more["make_more_pushers"] = lambda model, blessing: [_make_endpoint_pusher(runner, model, blessing)]
    return Platform(
        locate=locate_in_image,
        find_baseline=_find_blessed_model,
        parameters={
            **keys,
            PIPELINE_ROOT: RuntimeParameter(name=PIPELINE_ROOT, ptype=str),
            PUSH_DESTINATION: RuntimeParameter(name=PUSH_DESTINATION, ptype=str),
        },
        keeps_failed_outputs=True,
        **more,
    )


def _find_blessed_model(_candidate: Any) -> Any:
    """Vertex AI resolves by queries of its own; the Evaluator sees to it that no model is its own baseline."""
    from tfx.dsl.components.common.resolver import Resolver
    from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
    from tfx.types import Channel, standard_artifacts

    return Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    )


def _set_resources(spec: dict[str, Any], runner: VertexRunnerConfig) -> None:
    """Sets what each container may use; TFX itself would forget ExampleGen's."""
    for label, executor in spec["deploymentSpec"]["executors"].items():
        section = find_resources(runner, label.removesuffix("_executor"))
        if "container" not in executor or section is None:
            continue
        resources: dict[str, Any] = {}
        if section.cpu:
            resources["cpuLimit"] = section.cpu
        if section.memory_gib:
            # Vertex AI counts in GB; rounded up, so that no node gets less than it asks for.
            resources["memoryLimit"] = math.ceil(section.memory_gib * 2**30 / 1e8) / 10
        if section.accelerator:
            resources["accelerator"] = {"type": section.accelerator.type, "count": str(section.accelerator.count)}
        executor["container"]["resources"] = resources


def _make_endpoint_pusher(runner: VertexRunnerConfig, model: Any, blessing: Any) -> Any:
    from tfx.extensions.google_cloud_ai_platform.pusher.component import Pusher

    endpoint = runner.endpoint
    assert endpoint is not None
    serving_args = {
        "project_id": runner.project,
        "endpoint_name": endpoint.name,
        "machine_type": endpoint.machine_type,
        "min_replica_count": endpoint.min_replicas,
        "max_replica_count": endpoint.max_replicas,
    }
    config = {
        "ai_platform_enable_vertex": True,
        "ai_platform_vertex_region": runner.region,
        "ai_platform_vertex_container_image_uri": endpoint.serving_image,
        "ai_platform_serving_args": serving_args,
    }
    return Pusher(model=model, model_blessing=blessing, custom_config=config).with_id("EndpointPusher")


def _use_our_driver(spec: dict[str, Any]) -> None:
    """TFX names its own driver whatever a component's driver is; see `components.example_gen.vertex_driver`."""
    for executor in spec["deploymentSpec"]["executors"].values():
        check = executor.get("container", {}).get("lifecycle", {}).get("preCacheCheck")
        if check and _TFX_DRIVER in check["command"]:
            check["command"] = [vertex_driver.__name__ if part == _TFX_DRIVER else part for part in check["command"]]
