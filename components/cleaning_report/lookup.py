"""Finds any example of a report's data set, also one that the report itself does not show."""

import itertools
import os
from typing import Any

import tensorflow as tf

from components.cleaning_report.executor import load_texts
from components.cleaning_report.report import describe_example
from components.cleaning_report.tokens import Cleaner
from components.splits import read_records
from components.text import features


def find_example(source: dict[str, Any], example_id: str) -> dict[str, Any] | None:
    """Returns an example as in a report's `examples`, or None if there is none.

    Args:
        source: The report's `source`.
        example_id: The id, or its beginning; the first example that has it is taken.
    """
    pattern = os.path.join(source["scored_examples"], f"Split-{source['split']}", "*")
    wanted = example_id.encode()
    for record in itertools.chain.from_iterable(map(read_records, sorted(tf.io.gfile.glob(pattern)))):
        held = tf.train.Example.FromString(record).features.feature[features.EXAMPLE_ID].bytes_list.value
        if held and held[0].startswith(wanted):
            (example,) = Cleaner(source["transform_graph"], source["slice_columns"])([record])
            return describe_example(example, load_texts(source["preset"]))
    return None
