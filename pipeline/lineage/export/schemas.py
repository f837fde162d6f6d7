"""The published JSON schemas of both formats, and the check of what is about to be written against them.

`jsonschema-rs` checks: it knows all formats (URIs, times, UUIDs), and answers in milliseconds; the reference implementation
takes a second to load what it needs for the same.
"""

import functools
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CYCLONEDX_VERSION = "1.6"
_OPENLINEAGE = Path(__file__).parent / "openlineage_schemas"
_EVENT_SCHEMA = "OpenLineage.json"
# Ends of the names of facet schemas, and where such facets stand. The longest ends come first.
_FACET_PLACES = {
    "InputDatasetFacet": "inputFacets",
    "OutputDatasetFacet": "outputFacets",
    "DatasetFacet": "dataset",
    "RunFacet": "run",
    "JobFacet": "job",
}
_SHOWN_PROBLEMS = 5


class SchemaMismatchError(Exception):
    """A document does not fit its published schema; a defect of the exporter, and nothing is written."""


def check_bom(bom: dict[str, Any]) -> None:
    """Checks a bill of materials against CycloneDX' schema.

    Raises:
        SchemaMismatchError: It does not fit; the message names the places.
    """
    _raise_problems("CycloneDX", _list_problems(_load_bom_validator(), bom))


def check_event(event: dict[str, Any]) -> None:
    """Checks an event against OpenLineage's schema, and each standard facet in it against its own.

    Raises:
        SchemaMismatchError: It does not fit; the message names the places.
    """
    problems = list(_list_problems(_load_event_validators()[_EVENT_SCHEMA], event))
    for place, facets in _list_facets(event):
        for name, validator in _load_event_validators().items():
            if _find_place(name) == place:
                problems += _list_problems(validator, facets)
    _raise_problems("OpenLineage", problems)


@functools.cache
def get_facet_url(key: str) -> str:
    """Returns the `_schemaURL` of a standard facet: the version of its schema here.

    Args:
        key: Under which it stands in an event, e.g. `parent`.

    Raises:
        KeyError: There is no schema of it.
    """
    for schema in _load_openlineage().values():
        if key in schema.get("properties", {}):
            return schema["$id"] + schema["properties"][key]["$ref"]
    raise KeyError(key)


@functools.cache
def get_definition_url(name: str) -> str:
    """Returns the URL of a definition in the schema of events, e.g. `RunEvent`, or `RunFacet` for facets of our own.

    Raises:
        KeyError: There is no such definition.
    """
    schema = _load_openlineage()[_EVENT_SCHEMA]
    if name not in schema["$defs"]:
        raise KeyError(name)
    return f"{schema['$id']}#/$defs/{name}"


@functools.cache
def _load_openlineage() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(_OPENLINEAGE.glob("*.json"))}


@functools.cache
def _load_event_validators() -> dict[str, Any]:
    import jsonschema_rs

    schemas = _load_openlineage()
    registry = jsonschema_rs.Registry([(schema["$id"], schema) for schema in schemas.values()])
    # The schema of events takes any kind of them; of this one it says what is wrong, and not only that nothing fits.
    schemas = schemas | {_EVENT_SCHEMA: {"$ref": get_definition_url("RunEvent")}}
    return {
        name: jsonschema_rs.Draft202012Validator(schema, registry=registry, validate_formats=True)
        for name, schema in schemas.items()
    }


@functools.cache
def _load_bom_validator() -> Any:
    import jsonschema_rs

    # Importing the package itself would load its models, of which nothing is needed.
    spec = importlib.util.find_spec("cyclonedx")
    if spec is None or spec.origin is None:
        raise ImportError("cyclonedx-python-lib, which holds the schemas, is not installed: see requirements.txt.")
    folder = Path(spec.origin).parent / "schema" / "_res"
    schemas = {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.SNAPSHOT.schema.json"))
    }
    main = schemas.pop(f"bom-{CYCLONEDX_VERSION}.SNAPSHOT.schema.json")
    # The schemas refer to each other by the names of these files, next to the main one.
    base = main["$id"].rpartition("/")[0]
    resources = [(f"{base}/{name}", schema) for name, schema in schemas.items() if not name.startswith("bom-")]
    registry = jsonschema_rs.Registry(resources)
    return jsonschema_rs.Draft7Validator(main, registry=registry, validate_formats=True)


def _list_facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "run", event["run"].get("facets", {})
    yield "job", event["job"].get("facets", {})
    for dataset in (*event.get("inputs", ()), *event.get("outputs", ())):
        yield "dataset", dataset.get("facets", {})
        yield from ((side, dataset[side]) for side in ("inputFacets", "outputFacets") if side in dataset)


def _find_place(schema_name: str) -> str | None:
    stem = schema_name.removesuffix(".json")
    return next((place for end, place in _FACET_PLACES.items() if stem.endswith(end)), None)


def _list_problems(validator: Any, document: Any) -> Iterator[str]:
    for error in validator.iter_errors(document):
        yield f"{'/'.join(map(str, error.instance_path)) or 'document'}: {error.message[:300]}"


def _raise_problems(standard: str, problems: Iterator[str] | list[str]) -> None:
    found = list(problems)
    if found:
        more = f"; and {len(found) - _SHOWN_PROBLEMS} more" if len(found) > _SHOWN_PROBLEMS else ""
        raise SchemaMismatchError(f"it does not fit {standard}'s schema: {'; '.join(found[:_SHOWN_PROBLEMS])}{more}")
