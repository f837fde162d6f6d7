"""How a model was made, in CycloneDX' form: a workflow a run, a task an execution, and what passed between them."""

from datetime import datetime, timedelta
from typing import Any

from pipeline.lineage.export import components
from pipeline.lineage.export.identifiers import make_execution_uuid, make_run_uuid
from pipeline.lineage.graph import Artifact, Run, Step, Trace

# By the last part of a component's type.
_TASK_TYPES = {
    "ExampleValidator": "scan",
    "Evaluator": "test",
    "Predictor": "test",
    "Pusher": "deploy",
    "Trainer": "build",
}


def make_formulation(trace: Trace) -> list[dict[str, Any]]:
    """Returns the runs that made the model as workflows, and the artifacts between their tasks as transient components."""
    own = {trace.artifact.id, trace.pushed.id if trace.pushed else trace.artifact.id}
    made = {a.id: a for step in trace.steps for a in step.outputs}
    refs = {i: components.MODEL_REF if i in own else components.make_artifact_ref(a) for i, a in made.items()}
    formula: dict[str, Any] = {"workflows": [_make_workflow(run, trace, refs) for run in trace.runs]}
    if between := [components.make_artifact(made[i]) for i in sorted(made) if i not in own]:
        formula["components"] = between
    return [formula]


def _make_workflow(run: Run, trace: Trace, refs: dict[int, str]) -> dict[str, Any]:
    # In the order in which they ran.
    steps = sorted((step for step in trace.steps if step.run_id == run.id), key=lambda step: step.execution_id)
    makers = {artifact.id: _make_task_ref(step) for step in trace.steps for artifact in step.outputs}
    tasks = [_make_task(step, run, trace, refs) for step in steps]
    waits = {_make_task_ref(step): sorted({makers[i] for i in step.inputs if i in makers}) for step in steps}
    workflow: dict[str, Any] = {
        "bom-ref": f"run:{run.id}",
        "uid": make_run_uuid(run.pipeline_name, run.id),
        "name": run.pipeline_name or run.id,
        "taskTypes": sorted({kind for task in tasks for kind in task["taskTypes"]}),
        "properties": components.make_properties({"run": run.id}),
    }
    if tasks:
        workflow |= {
            "tasks": tasks,
            "taskDependencies": [
                {"ref": ref} | ({"dependsOn": before} if before else {}) for ref, before in waits.items()
            ],
            "timeStart": min(task["timeStart"] for task in tasks),
            "timeEnd": max(task["timeEnd"] for task in tasks),
        }
    if run.config:
        workflow["inputs"] = [_refer(components.make_configuration_ref(run))]
    return workflow


def _make_task(step: Step, run: Run, trace: Trace, refs: dict[int, str]) -> dict[str, Any]:
    read = [refs[i] for i in step.inputs if i in refs] + _list_outside_inputs(step, trace)
    written = list(dict.fromkeys(refs[artifact.id] for artifact in step.outputs))
    task: dict[str, Any] = {
        "bom-ref": _make_task_ref(step),
        "uid": make_execution_uuid(run.pipeline_name, run.id, step.node, step.execution_id),
        "name": step.node,
        "taskTypes": [_TASK_TYPES.get(step.component.rpartition(".")[2], "other")],
        "timeStart": step.started_at,
        "timeEnd": find_end(step),
        "properties": components.make_properties({"component": step.component, "execution": step.execution_id}),
    }
    if read:
        task["inputs"] = [_refer(ref) for ref in dict.fromkeys(read)]
    if written:
        task["outputs"] = [{"type": "artifact"} | _refer(ref) for ref in written]
    return task


def find_end(step: Step) -> str:
    """Returns when a step ended, as ISO 8601 in UTC."""
    started = datetime.fromisoformat(step.started_at)
    return (started + timedelta(seconds=step.duration_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list_outside_inputs(step: Step, trace: Trace) -> list[str]:
    """Data files and presets are no artifacts: what was made from them names them."""
    files = {file.path: components.make_data_ref(file) for file in trace.data}
    named = [files[str(a.properties["data_path"])] for a in step.outputs if a.properties.get("data_path") in files]
    presets = {str(a.properties["preset"]) for a in step.outputs if _is_model(a) and a.properties.get("preset")}
    known = {component["bom-ref"] for component in components.make_presets(trace)}
    return named + [ref for ref in map(components.make_preset_ref, sorted(presets)) if ref in known]


def _is_model(artifact: Artifact) -> bool:
    return artifact.type == "Model"


def _make_task_ref(step: Step) -> str:
    return f"task:{step.execution_id}"


def _refer(ref: str) -> dict[str, Any]:
    return {"resource": {"ref": ref}}
