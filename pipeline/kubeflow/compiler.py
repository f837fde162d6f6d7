"""Compiles a run for open-source Kubeflow Pipelines: one container a node, whose command is `python -m pipeline run-node`.

Its backend has neither TFX's resolvers nor the hook in which ExampleGen's driver runs on Vertex AI, so that each container does all
of a node: driver, executor and publisher, against the metadata store. Before them one container checks whether there is anything
new to do; all others are within a condition on its answer.
"""

import functools
import inspect
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from configs.runner_schema import KubeflowRunnerConfig, find_resources
from configs.schema import RunConfig
from pipeline.beam.options import make_beam_args
from pipeline.kubeflow.check_run import NEEDED
from pipeline.node_names import RUN_CHECK
from pipeline.paths import PIPELINE_ROOT
from pipeline.platforms import locate_in_image
from pipeline.specs.parameters import FORCE, make_key_parameters, to_parameter_name

METADATA = "metadata"
RUN_ID = "run_id"
_ANSWER = "needed"


def compile_for_kubeflow(config: RunConfig, config_path: str, runner: KubeflowRunnerConfig) -> dict[str, Any]:
    """Compiles; to be called in a process that has TFX.

    Returns:
        The fields of `CompiledSpec`.
    """
    from kfp import compiler

    parameters: dict[str, str | bool] = {
        **make_key_parameters(config, runner, locate_in_image(config.data.path)),
        PIPELINE_ROOT: runner.pipeline_root.rstrip("/"),
        METADATA: json.dumps(runner.metadata.model_dump(mode="json"), sort_keys=True),
        FORCE: False,
    }
    upstream = list_upstream(config)
    settings = {
        "config": config.model_dump(mode="json"),
        "config_path": locate_in_image(config_path),
        "beam_args": make_beam_args(
            runner.beam, image=runner.image, job_prefix=config.pipeline.name, temp_root=_find_bucket(runner)
        ),
        "nodes": list(upstream),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(_make_pipeline(config, runner, settings, parameters, upstream), str(path))
        text = path.read_text(encoding="utf-8")
    return {"pipeline_name": config.pipeline.name, "text": text, "parameters": parameters}


def _find_bucket(runner: KubeflowRunnerConfig) -> str | None:
    return runner.pipeline_root if runner.pipeline_root.startswith("gs://") else None


def list_upstream(config: RunConfig) -> dict[str, list[str]]:
    """Returns the nodes of a run, and for each those that it waits for."""
    from tfx.dsl.compiler import compiler

    from pipeline.paths import make_places
    from pipeline.pipeline import create_pipeline

    compiled = compiler.Compiler().compile(create_pipeline(config, places=make_places("/", config.pipeline.name)))
    nodes = [node.pipeline_node for node in compiled.nodes]
    return {node.node_info.id: list(node.upstream_nodes) for node in nodes}


def _make_pipeline(
    config: RunConfig,
    runner: KubeflowRunnerConfig,
    settings: dict[str, Any],
    parameters: dict[str, str | bool],
    upstream: dict[str, list[str]],
) -> Any:
    from kfp import dsl

    shared = [RUN_ID, *(name for name in parameters if name != FORCE)]
    make_component = functools.partial(_make_component, runner, settings, shared)
    options = ["--needed", {"outputPath": _ANSWER}, "--force", {"inputValue": FORCE}]
    check = make_component(RUN_CHECK, "check-run", options, more_inputs={FORCE: "Boolean"}, outputs=[_ANSWER])
    nodes = {node_id: make_component(node_id, "run-node", ["--node", node_id]) for node_id in upstream}

    def make_task(name: str, component: Any, values: dict[str, Any]) -> Any:
        task = component(**values, **{RUN_ID: dsl.PIPELINE_JOB_ID_PLACEHOLDER})
        task.set_display_name(name)
        # Kubeflow's own cache knows neither the code nor the data.
        task.set_caching_options(enable_caching=False)
        _set_resources(task, runner, name)
        _set_surroundings(task, runner)
        return task

    def run(*given: Any) -> None:
        values = dict(zip(parameters, given, strict=True))
        checked = make_task(RUN_CHECK, check, values)
        del values[FORCE]
        tasks: dict[str, Any] = {}
        with dsl.If(checked.outputs[_ANSWER] == NEEDED, name="If needed"):
            for node_id, before in upstream.items():
                tasks[node_id] = make_task(node_id, nodes[node_id], values)
                tasks[node_id].after(*(tasks[other] for other in before))

    # kfp reads the pipeline's parameters off the signature.
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value, annotation=type(value))
            for name, value in parameters.items()
        ]
    )
    run.__annotations__ = {name: type(value) for name, value in parameters.items()}
    return dsl.pipeline(name=config.pipeline.name)(run)


def _make_component(
    runner: KubeflowRunnerConfig,
    settings: dict[str, Any],
    shared: list[str],
    name: str,
    command: str,
    options: list[Any],
    more_inputs: Mapping[str, str] = {},
    outputs: Sequence[str] = (),
) -> Any:
    """Returns kfp's component of a container: its command with the placeholders of its inputs.

    Args:
        runner: Where it runs.
        settings: What all containers are told of the run.
        shared: Inputs of all containers, which are text.
        name: The component's name.
        command: Of `python -m pipeline`.
        options: The command's own ones.
        more_inputs: The inputs in them, with kfp's types.
        outputs: The outputs in them, which are text.
    """
    from kfp import components

    keys = {to_parameter_name(key): key for key in runner.parameters}
    # Kubernetes takes `$$` and `$(NAME)` in arguments for its own, and Kubeflow `{{$...}}`; JSON can write the sign otherwise.
    text = json.dumps(settings, sort_keys=True).replace("$", r"\u0024")
    arguments: list[Any] = [*options, "--settings", text]
    for each in shared:
        option = ["--parameter", keys[each]] if each in keys else [f"--{each.replace('_', '-')}"]
        arguments += [*option, {"inputValue": each}]
    inputs = {**dict.fromkeys(shared, "String"), **more_inputs}
    definition = {
        "name": name,
        "inputs": [{"name": each, "type": kind} for each, kind in inputs.items()],
        "outputs": [{"name": each, "type": "String"} for each in outputs],
        "implementation": {
            "container": {
                "image": runner.image,
                "command": ["python", "-m", "pipeline", command],
                "args": arguments,
            }
        },
    }
    return components.load_component_from_text(yaml.safe_dump(definition, sort_keys=False))


def _set_resources(task: Any, runner: KubeflowRunnerConfig, node_id: str) -> None:
    section = find_resources(runner, node_id)
    if section is None:
        return
    if section.cpu:
        task.set_cpu_request(f"{section.cpu:g}").set_cpu_limit(f"{section.cpu:g}")
    if section.memory_gib:
        memory = (
            f"{section.memory_gib:g}Gi"
            if section.memory_gib == int(section.memory_gib)
            else f"{section.memory_gib * 1024:.0f}Mi"
        )
        task.set_memory_request(memory).set_memory_limit(memory)
    if section.accelerator:
        task.set_accelerator_type(section.accelerator.type).set_accelerator_limit(section.accelerator.count)


def _set_surroundings(task: Any, runner: KubeflowRunnerConfig) -> None:
    from kfp import kubernetes

    if runner.volume:
        kubernetes.mount_pvc(task, pvc_name=runner.volume.claim, mount_path=runner.volume.mount_path)
    for secret in runner.secrets:
        kubernetes.use_secret_as_env(task, secret_name=secret.secret, secret_key_to_env={secret.key: secret.env})
