"""One run of a compiled pipeline: which tasks run, and what the backend hands to each (ExecutorInput)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import UserError
from pipeline.specs import placeholders
from pipeline.specs.flatten import Source, Task, flatten

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
        skipped: The tasks whose conditions were not met, and those that wait for them.
        tasks: All tasks by name.
    """

    spec: Mapping[str, Any]
    parameters: Mapping[str, Any]
    run_id: str
    folder: Path
    outputs: dict[str, Artifacts] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    tasks: Mapping[str, Task] = field(init=False)

    def __post_init__(self) -> None:
        self.tasks = flatten(self.spec)

    @property
    def job(self) -> dict[str, str]:
        """What placeholders of the job as a whole stand for."""
        names = ("pipeline_job_uuid", "pipeline_job_name", "pipeline_job_resource_name")
        return dict.fromkeys(names, self.run_id)

    def get_executor(self, task: str) -> Mapping[str, Any]:
        """Returns how a task runs.

        Raises:
            UserError: If the spec does not say it.
        """
        label = self.tasks[task].component.get("executorLabel")
        if label not in self.spec["deploymentSpec"]["executors"]:
            raise UserError(f"{task} must have an executor. Received: {label}.")
        return self.spec["deploymentSpec"]["executors"][label]

    def list_upstream(self) -> dict[str, list[str]]:
        """Returns the tasks, and for each those that it waits for."""
        return {name: list(task.upstream) for name, task in self.tasks.items()}

    def is_skipped(self, task: str) -> bool:
        """Returns whether a task is not to run, and remembers it; all that it waits for must have ended.

        Raises:
            UserError: If a condition compares something else than texts.
        """
        definition = self.tasks[task]
        # In this order: what a skipped task would have told is not there to be compared.
        if not self.skipped.isdisjoint(definition.upstream) or not all(
            condition.equality.is_met({condition.equality.parameter: self._get_value(condition.source)})
            for condition in definition.conditions
        ):
            self.skipped.add(task)
        return task in self.skipped

    def make_executor_input(self, task: str) -> dict[str, Any]:
        """Returns what the backend hands to a task: inputs, and where its outputs go."""
        definition = self.tasks[task]
        component = definition.component
        types = component.get("inputDefinitions", {}).get("artifacts", {})
        inputs = {}
        for key, source in definition.artifacts.items():
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
        values = {key: self._get_value(source) for key, source in definition.parameters.items()}
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

    def read_values(self, task: str, executor_input: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the output parameters that a task has written, each into a file of its own: text as it is, others as JSON."""
        types = self.tasks[task].component.get("outputDefinitions", {}).get("parameters", {})
        found = {}
        for key, place in executor_input["outputs"]["parameters"].items():
            path = Path(place["outputFile"])
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                found[key] = text if types[key]["parameterType"] == "STRING" else json.loads(text)
        return found

    def find_input(self, source: Source) -> list[dict[str, Any]]:
        """Returns the artifacts that an input comes from; none if a resolver has found none."""
        output = source["taskOutputArtifact"]
        return self.outputs.get(output["producerTask"], {}).get(output["outputArtifactKey"], [])

    def _get_value(self, source: Source) -> Any:
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
