"""Executor of SchemaImporter."""

from typing import Any

from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.components.schema_gen.import_schema_gen import executor as import_schema_gen
from tfx.types import standard_component_specs

from components import storage
from components.content import hash_file
from components.errors import UserError


class Executor(import_schema_gen.Executor):
    """TFX's, which copies what is there when the node runs."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: dict[str, Any]) -> None:  # noqa: N802 (TFX's name)
        """See TFX.

        Raises:
            UserError: The file has changed since the run was put together: its hash would be that of another schema.
        """
        super().Do(input_dict, output_dict, exec_properties)
        (schema,) = output_dict[standard_component_specs.SCHEMA_KEY]
        copied = storage.join(schema.uri, DEFAULT_FILE_NAME)
        if hash_file(copied) != exec_properties["schema_hash"]:
            raise UserError(
                f"{exec_properties['schema_file']} must be the schema that this run was put together with. It is another one: it has "
                "changed since then, or the image has other code. Run the pipeline again; if it was compiled, compile it again."
            )
