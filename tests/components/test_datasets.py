"""Every reader of records says that tf.data must not tune itself; what that costs, components/datasets.py tells."""

import ast
from pathlib import Path

import pytest
import tensorflow as tf

from components.datasets import without_autotuning

ROOT = Path(__file__).resolve().parents[2]


def list_readers() -> list[tuple[str, ast.AST]]:
    found = []
    for folder in ("components", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:  # classes and functions
                if "TFRecordDataset(" in ast.unparse(node):
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_autotuning_is_off():
    dataset = without_autotuning(tf.data.Dataset.range(3))
    assert not dataset.options().autotune.enabled
    assert [int(x) for x in dataset] == [0, 1, 2]


@pytest.mark.parametrize("reader", list_readers(), ids=lambda reader: reader[0])
def test_readers_of_records_turn_it_off(reader):
    assert "without_autotuning(" in ast.unparse(reader[1])
