"""What Kubeflow Pipelines' API takes: bodies by kfp's own models, pipelines by its own protocol buffers."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import kfp_server_api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

INT64 = {"max_concurrency", "interval_second"}
NATIVE = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}
PARAMETER_TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": (int, float), "BOOLEAN": bool}


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str):
        self.status = status
        super().__init__(message)


class _Loader(yaml.SafeLoader):
    """Reads numbers as Go's YAML does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def get_answer_model(method: str, path: str) -> str:
    """Returns the name of kfp's model of what the API answers."""
    resource, *rest = path.removeprefix("/apis/v2beta1/").split("/")
    is_version = rest[-1:] in (["versions"], ["upload_version"])
    name = (
        "PipelineVersion" if is_version else {"recurringruns": "RecurringRun"}.get(resource, resource[:-1].capitalize())
    )
    if resource == "healthz":
        return "V2beta1GetHealthzResponse"
    if method == "DELETE" or path.endswith((":enable", ":disable")):
        return "object"
    return f"V2beta1List{name}sResponse" if method == "GET" and (is_version or not rest) else f"V2beta1{name}"


def find_model_problems(kind: str, value: Any, place: str) -> Iterator[str]:
    """Yields where a value is not of the type that kfp's models of the API give to it."""
    if listed := re.fullmatch(r"list\[(.*)\]|dict\(str, (.*)\)", kind):
        inner = listed[1] or listed[2]
        if not isinstance(value, list if listed[1] else dict):
            yield f"{place} is not a {kind}"
            return
        for item in value if listed[1] else value.values():
            yield from find_model_problems(inner, item, place)
    elif kind == "datetime":
        datetime.fromisoformat(value)
    elif kind in NATIVE:
        is_int64 = place.rpartition(".")[2] in INT64
        good = str(value).isdigit() if is_int64 else isinstance(value, NATIVE[kind])
        if not good or (kind == "int" and isinstance(value, bool)):
            yield f"{place} is not a {kind}: {value!r}"
    elif allowed := getattr(getattr(kfp_server_api, kind), "allowable_values", None):
        if value not in allowed:
            yield f"{place} is not one of {allowed}: {value!r}"
    elif not isinstance(value, dict):
        yield f"{place} is not a {kind}: {value!r}"
    else:
        model = getattr(kfp_server_api, kind)
        types = {model.attribute_map[name]: inner for name, inner in model.openapi_types.items()}
        for key, item in value.items():
            if key in types:
                yield from find_model_problems(types[key], item, f"{place}.{key}")
            else:
                yield f"{place} has no {key}"


def parse_spec(text: str) -> pipeline_spec_pb2.PipelineSpec:
    """Returns a compiled pipeline; raises Refused if it is not one."""
    documents = list(yaml.load_all(text, _Loader))
    try:
        spec = json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
        for document in documents[1:]:
            json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
    except json_format.ParseError as error:
        raise Refused(400, f"not a pipeline: {error}") from error
    if not spec.pipeline_info.name or not spec.root.dag.tasks or len(documents) > 2:
        raise Refused(400, "the pipeline needs a name and tasks")
    for name, definition in documents[0]["root"].get("inputDefinitions", {}).get("parameters", {}).items():
        if "defaultValue" in definition:
            check_parameter(name, definition["parameterType"], definition["defaultValue"])
    return spec


def check_parameter(name: str, kind: str, value: Any) -> None:
    if not isinstance(value, PARAMETER_TYPES[kind]) or (kind != "BOOLEAN" and isinstance(value, bool)):
        raise Refused(400, f"the parameter {name} must be a {kind}: {value!r}")
