import json
from collections import Counter

import pytest

from components.errors import UserError
from components.partitioner.executor import Executor, assign_part

THIRDS = {f"part_{i}": 1 / 3 for i in range(3)}


def test_parts_have_their_shares_and_depend_on_the_id_and_the_seed_alone():
    ids = [f"id{i}".encode() for i in range(6000)]
    parts = [assign_part(i, THIRDS, seed=0) for i in ids]
    assert {count // 100 for count in Counter(parts).values()} <= {19, 20}
    assert [assign_part(i, THIRDS, seed=0) for i in ids[::-1]] == parts[::-1]
    assert sum(a != assign_part(i, THIRDS, seed=1) for a, i in zip(parts, ids, strict=True)) > 3500
    warmup = [assign_part(i, {"warmup": 0.2}, seed=0) for i in ids]
    assert abs(warmup.count("warmup") / 6000 - 0.2) < 0.02
    assert set(warmup) == {"warmup", None}


def test_every_example_is_in_one_part(write_artifact, read_artifact, empty_artifact):
    train = [
        {"example_id": f"id{i}", "token_ids": [1, 2, 3], "target_mask": [1, 1, 0], "prompt": "p"} for i in range(60)
    ]
    evaluation = [{"example_id": "e", "token_ids": [4, 5], "target_mask": [0, 1]}]
    source, target = write_artifact({"train": train, "eval": evaluation, "test": []}), empty_artifact("parts")
    properties = {"shares": json.dumps(THIRDS), "seed": 5, "code_hash": ""}
    Executor().Do({"examples": [source]}, {"parts": [target]}, properties)
    assert json.loads(target.split_names) == [*THIRDS, "eval"]
    parts = {name: read_artifact(target, name) for name in THIRDS}
    assert sorted((e for part in parts.values() for e in part), key=lambda e: int(e["example_id"][2:])) == train
    assert read_artifact(target, "eval") == evaluation
    for name, part in parts.items():
        assert part
        assert all(assign_part(e["example_id"].encode(), THIRDS, 5) == name for e in part)
        assert target.get_int_custom_property(f"{name}_examples") == len(part)
        from components.token_scorer.executor import read_count

        assert read_count(target, name) == len(part)


def test_a_part_without_response_tokens_is_named(write_artifact, empty_artifact):
    # The only target is a first token, which nothing predicts.
    train = [{"example_id": "id0", "token_ids": [1, 2], "target_mask": [1, 0]}]
    source = write_artifact({"train": train, "eval": []})
    # One part has the example, so that no empty part is what is complained about.
    properties = {"shares": json.dumps({"part_0": 1.0}), "seed": 5, "code_hash": ""}
    with pytest.raises(UserError, match=r"must have response tokens.*1 examples without any in part_0.*\.parts"):
        Executor().Do({"examples": [source]}, {"parts": [empty_artifact("parts")]}, properties)
