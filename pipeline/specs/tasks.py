"""The tasks of a compiled pipeline: their order, and what the backend hands to each (ExecutorInput)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import UserError
from pipeline.specs import placeholders

Artifacts = dict[str, list[dict[str, Any]]]


@dataclass(kw_only=True)
class SpecRun:
    """One run of a spec.

    Attributes:
        spec: PipelineSpec.
        parameters: A value for every parameter of the pipeline.
        run_id: Its id.
        folder: Where its tasks write.
        outputs: The artifacts of the tasks that have ended, by task and key.
        values: The output parameters of the tasks that have ended.
    """

    spec: Mapping[str, Any]
    parameters: Mapping[str, Any]
    run_id: str
    folder: Path
    outputs: dict[str, Artifacts] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks by name."""
        return self.spec["root"]["dag"]["tasks"]

    @property
    def job(self) -> dict[str, str]:
        """What placeholders of the job as a whole stand for."""
        names = ("pipeline_job_uuid", "pipeline_job_name", "pipeline_job_resource_name")
        return dict.fromkeys(names, self.run_id)

    def get_component(self, task: str) -> Mapping[str, Any]:
        """Returns the definition of what a task runs."""
        return self.spec["components"][self.tasks[task]["componentRef"]["name"]]

    def get_executor(self, task: str) -> Mapping[str, Any]:
        """Returns how a task runs.

        Raises:
            UserError: If it is a pipeline of its own, which is not supported here.
        """
        component = self.get_component(task)
        if "executorLabel" not in component:
            raise UserError(f"{task} is a pipeline inside of the pipeline, which cannot be run here.")
        return self.spec["deploymentSpec"]["executors"][component["executorLabel"]]

    def list_upstream(self) -> dict[str, list[str]]:
        """Returns the tasks, and for each those that it waits for."""
        return {name: sorted(_list_dependencies(task) & set(self.tasks)) for name, task in self.tasks.items()}

    def make_executor_input(self, task: str) -> dict[str, Any]:
        """Returns what the backend hands to a task: inputs, and where its outputs go."""
        component, definition = self.get_component(task), self.tasks[task]
        types = component.get("inputDefinitions", {}).get("artifacts", {})
        inputs = {}
        for key, source in definition.get("inputs", {}).get("artifacts", {}).items():
            found = self.find_input(source)
            if found:
                kept = ("name", "uri", "metadata")
                typed = [{k: a[k] for k in kept} | {"type": types[key]["artifactType"]} for a in found]
                inputs[key] = {"artifacts": typed}
        folder = self.folder / task
        declared = component.get("outputDefinitions", {})
        outputs = {
            key: {
                "artifacts": [
                    {
                        "name": f"runs/{self.run_id}/{task}/{key}",
                        "uri": str(folder / key),
                        "type": output["artifactType"],
                        "metadata": output.get("metadata", {}),
                    }
                ]
            }
            for key, output in declared.get("artifacts", {}).items()
        }
        values = {
            key: self._get_value(source) for key, source in definition.get("inputs", {}).get("parameters", {}).items()
        }
        return {
            "inputs": {"artifacts": inputs, "parameterValues": values},
            "outputs": {
                "artifacts": outputs,
                "parameters": {
                    key: {"outputFile": str(folder / "parameters" / key)} for key in declared.get("parameters", {})
                },
                "outputFile": str(folder / "executor_output.json"),
            },
        }

    def find_input(self, source: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the artifacts that an input comes from; none if a resolver has found none."""
        output = source["taskOutputArtifact"]
        return self.outputs.get(output["producerTask"], {}).get(output["outputArtifactKey"], [])

    def _get_value(self, source: Mapping[str, Any]) -> Any:
        if "componentInputParameter" in source:
            return self.parameters[source["componentInputParameter"]]
        if "taskOutputParameter" in source:
            output = source["taskOutputParameter"]
            return self.values[output["producerTask"]][output["outputParameterKey"]]
        value = source["runtimeValue"]["constant"]
        return (
            placeholders.fill(value, {}, self.job) if isinstance(value, str) and "{{$.pipeline_job" in value else value
        )


def get_title(artifact_type: Mapping[str, Any]) -> str:
    """Returns the title of an artifact's type."""
    if "schemaTitle" in artifact_type:
        return artifact_type["schemaTitle"]
    match = re.search(r"title:\s*(\S+)", artifact_type.get("instanceSchema", ""))
    return match[1] if match else "unknown"


def _list_dependencies(task: Mapping[str, Any]) -> set[str]:
    inputs = task.get("inputs", {})
    found = set(task.get("dependentTasks", []))
    found |= {a["taskOutputArtifact"]["producerTask"] for a in inputs.get("artifacts", {}).values()}
    found |= {
        p["taskOutputParameter"]["producerTask"]
        for p in inputs.get("parameters", {}).values()
        if "taskOutputParameter" in p
    }
    return found
