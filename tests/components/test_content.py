import hashlib
import json
import os
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import content as contents


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


def test_the_hash_is_that_of_names_sizes_and_hashes(tmp_path: Path):
    content = contents.read_content(write(tmp_path / "a", b="12", a__c="345"))
    lines = [f'{hashlib.sha256(b"345").hexdigest()} 3 "a/c"', f'{hashlib.sha256(b"12").hexdigest()} 2 "b"']
    text = "".join(f"{line}\n" for line in lines)
    assert content.manifest == text
    assert content.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert (content.num_bytes, len(content.files)) == (5, 2)


def test_a_copy_has_the_same_hash_wherever_it_is(tmp_path: Path):
    first = contents.read_content(write(tmp_path / "a", x="1", y__z="2"))
    assert contents.read_content(write(tmp_path / "b", y__z="2", x="1")) == first


@pytest.mark.parametrize("change", [{"x": "2"}, {"x": ""}, {"w": "1"}, {"y__w": ""}])
def test_any_change_changes_the_hash(tmp_path: Path, change: dict[str, str]):
    before = contents.read_content(write(tmp_path / "a", x="1", y__z="2")).sha256
    assert contents.read_content(write(tmp_path / "a", **change)).sha256 != before


def test_a_name_cannot_pretend_to_be_two_files(tmp_path: Path):
    digest = hashlib.sha256(b"").hexdigest()
    one = write(tmp_path / "a", **{f'x"\n{digest} 0 "y': ""})
    assert len(contents.parse_manifest(contents.read_content(one).manifest).files) == 1


def test_a_manifest_is_read_back(tmp_path: Path):
    content = contents.read_content(write(tmp_path / "a", **{"with space": "1", "ü": "2"}))
    assert contents.parse_manifest(content.manifest) == content


@pytest.mark.parametrize("text", ["x", "a b c", 'a b "c"'])
def test_what_is_no_manifest_is_refused(text: str):
    with pytest.raises(ValueError):
        contents.parse_manifest(text)


def test_links_to_folders_are_not_part_of_it_and_links_to_files_are(tmp_path: Path):
    write(tmp_path / "other", secret="1")
    folder = Path(write(tmp_path / "a", x="1"))
    before = contents.read_content(str(folder))
    os.symlink(tmp_path / "other", folder / "link")
    assert contents.read_content(str(folder)) == before
    os.symlink(tmp_path / "other" / "secret", folder / "file")
    assert [file.name for file in contents.read_content(str(folder)).files] == ["file", "x"]


def test_an_artifact_is_told_its_content_and_its_manifest_lies_outside_of_it(tmp_path: Path):
    artifact = mlmd.Artifact(uri=write(tmp_path / "Trainer/model/7", x="123"))
    contents.record_content(artifact)
    assert artifact.custom_properties[contents.CONTENT_BYTES].int_value == 3
    assert artifact.custom_properties[contents.CONTENT_FILES].int_value == 1
    recorded = artifact.custom_properties[contents.CONTENT_SHA256].string_value
    assert recorded == contents.read_content(artifact.uri).sha256
    manifest = tmp_path / "Trainer/.system/contents/7/model"
    assert str(manifest) == contents.find_manifest(artifact.uri)
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() == recorded
    assert sorted(p.name for p in manifest.parent.iterdir()) == ["model"], "nothing temporary stays"


def test_an_artifact_without_files_has_a_hash_too(tmp_path: Path):
    artifact = mlmd.Artifact(uri=str(tmp_path / "Pusher/pushed_model/7"))
    contents.record_content(artifact)
    assert artifact.custom_properties[contents.CONTENT_FILES].int_value == 0
    assert artifact.custom_properties[contents.CONTENT_SHA256].string_value == hashlib.sha256(b"").hexdigest()


def test_a_value_has_its_manifest_by_its_execution():
    assert contents.find_manifest("/r/Node/number/3/value") == "/r/Node/.system/contents/3/number"


def test_json_escapes_keep_a_line_a_file(tmp_path: Path):
    content = contents.read_content(write(tmp_path / "a", **{"two\nlines": "1"}))
    assert json.loads(content.manifest.split(" ", 2)[2]) == "two\nlines"
