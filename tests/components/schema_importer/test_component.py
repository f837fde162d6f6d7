from components.schema_importer.component import SchemaImporter


def test_an_edit_of_the_file_changes_the_parameters(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_text('feature { name: "a" }')
    before = SchemaImporter(path).exec_properties
    assert before == SchemaImporter(path).exec_properties
    path.write_text('feature { name: "b" }')
    after = SchemaImporter(path).exec_properties
    assert before["schema_file"] == after["schema_file"] == str(path)
    assert before["schema_hash"] != after["schema_hash"]
