"""What stands in a store as JSON or YAML, and was changed there."""

import pytest

from pipeline.lineage.diff import flatten
from pipeline.lineage.recorded import read_config, read_json

BOMB = "a0: &a0 {x: 1, y: 1}\n" + "".join(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- 1",
        "text",
        "",
        None,
        BOMB,
        "a: &a {b: *a}",
        "a: " + "[" * 100_000,
        "a: " + "{b: " * 9_000,
        "".join("  " * level + "a:\n" for level in range(2_000)),
        "- " * 1_000_000 + "a",
        "- " * 900 + "a",
        "a: 2026-13-45",
        "a: !!python/object/apply:os.system [ls]",
    ],
    ids=range(14),
)
def test_a_configuration_that_cannot_be_read_is_none(text):
    assert read_config(text) == {}


def test_a_configuration_is_read():
    text = "data:\n  path: '*.jsonl & more'\n  where: [a=1]\n"
    assert flatten(read_config(text)) == {"data.path": "*.jsonl & more", "data.where": ["a=1"]}


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1", '"x"', "", None, "[[]]", "[1]"])
def test_json_that_cannot_be_read_is_empty(text):
    assert (read_json(text, dict), read_json(text, list)) == ({}, [])


def test_json_is_read():
    assert (read_json('{"a": 1}', dict), read_json('["a"]', list)) == ({"a": 1}, ["a"])
    assert (read_json("[1]", dict), read_json("{}", list)) == ({}, [])
