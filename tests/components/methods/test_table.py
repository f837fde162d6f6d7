import subprocess
import sys

import pytest

from components.methods import find_option_problems, make_method, option_names


def test_all_problems_are_reported_at_once():
    problems = find_option_problems("lora", {"rnk": 4, "rank": 0, "alpha": -1})
    assert problems["rnk"] == (
        "unknown option of `lora`. Did you mean `rank`? Options: alpha, rank, target_layer_names."
    )
    assert set(problems) == {"rnk", "rank", "alpha"}
    assert find_option_problems("full", {"rank": 1}) == {"rank": "unknown option of `full`. It has no options."}


def test_unknown_method_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match=r"method\.name: unknown method\. Did you mean `lora`\? Methods: full, lora"):
        make_method("lorra", {})


def test_options_are_listed():
    assert option_names("lora") == ["alpha", "rank", "target_layer_names"]
    assert option_names("full") == []


def test_the_table_needs_neither_keras_nor_tensorflow():
    code = "import sys, components.methods; print([m for m in ('keras', 'tensorflow', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
