"""SchemaImporter: TFX's ImportSchemaGen, run again when the file has changed."""

import hashlib
from pathlib import Path

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, component_spec, standard_artifacts, standard_component_specs

from components.schema_importer.executor import Executor


class SchemaImporterSpec(standard_component_specs.ImportSchemaGenSpec):
    """TFX's, with the hash of the file: TFX keys its cache on the path alone, and would never see an edit."""

    PARAMETERS = {
        **standard_component_specs.ImportSchemaGenSpec.PARAMETERS,
        "schema_hash": component_spec.ExecutionParameter(type=str),
    }


class SchemaImporter(base_component.BaseComponent):
    """Copies a schema file into an artifact."""

    SPEC_CLASS = SchemaImporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, schema_file: Path, place: str | None = None):
        """Makes the node.

        Args:
            schema_file: A schema in text format, here.
            place: The same file where the node runs; None: here.
        """
        super().__init__(
            spec=SchemaImporterSpec(
                schema_file=place or str(schema_file.absolute()),
                schema_hash=hashlib.sha256(schema_file.read_bytes()).hexdigest(),
                schema=Channel(type=standard_artifacts.Schema),
            )
        )
