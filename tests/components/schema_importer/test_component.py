import pytest
from tfx.types import standard_artifacts

from components.errors import UserError
from components.schema_importer.component import SchemaImporter
from components.schema_importer.executor import Executor


def test_an_edit_of_the_file_changes_the_parameters(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_text('feature { name: "a" }')
    before = SchemaImporter(path).exec_properties
    assert before == SchemaImporter(path).exec_properties
    path.write_text('feature { name: "b" }')
    after = SchemaImporter(path).exec_properties
    assert before["schema_file"] == after["schema_file"] == str(path)
    assert before["schema_hash"] != after["schema_hash"]


def test_a_file_that_changes_before_its_node_runs_is_refused(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_text('feature { name: "a" }')
    parameters = SchemaImporter(path).exec_properties

    def import_into(name):
        schema = standard_artifacts.Schema()
        schema.uri = str(tmp_path / name)
        Executor().Do({}, {"schema": [schema]}, parameters)

    import_into("one")
    assert (tmp_path / "one" / "schema.pbtxt").read_text() == path.read_text()
    path.write_text('feature { name: "b" }')
    with pytest.raises(UserError, match=r"schema\.pbtxt must be the schema that this run was put together with"):
        import_into("two")
