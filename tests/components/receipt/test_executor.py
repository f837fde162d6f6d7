"""The node on splits by hand, with the built-in base's tokenizer."""

import json
import types
from pathlib import Path

import pytest

from components.errors import UserError
from components.receipt.component import TrainingReceipt
from components.receipt.executor import Executor, load_tokens
from components.trainer.statistics import measure
from configs.schema import ReceiptSection

PRESET = str(Path(__file__).resolve().parents[3] / "data" / "base" / "tiny_gpt2_en")
MAX_LENGTH = 8


@pytest.fixture(scope="module")
def base():
    """Special tokens of the built-in base, and a token of its own."""
    tokens, texts = load_tokens(PRESET, {"template": "alpaca"})
    return types.SimpleNamespace(end=tokens.end_ids[0], start=tokens.start_id, tokens=tokens, texts=texts)


@pytest.fixture
def splits(base):
    def row(example_id, token_ids, weight, cut=(0, 0)):
        return {
            "example_id": example_id,
            "token_ids": token_ids,
            "loss_weight": [float(w) for w in weight],
            "num_response_tokens": [int(sum(weight))],
            "tokens_cut": list(cut),
            "template_specials": [2],
        }

    train = [row(f"row {i}", [base.start, 40, 41, base.end], [0, 0, 1, 1]) for i in range(300)]
    train.append(row("long", [base.start, 40, 41, 42], [0, 0, 1, 1], cut=(1, 3)))
    return {"train": train, "eval": [row("other", [base.start, 40, base.end], [0, 1, 1])], "test": []}


def run(examples, artifact, context=None, folder="", **rules):
    settings = {
        "train_split": "train",
        "eval_split": "eval",
        "preset": PRESET,
        "text": {"template": "alpaca", "max_length": MAX_LENGTH},
        "rules": ReceiptSection.model_validate(rules).model_dump(mode="json"),
        "copy_folder": folder,
    }
    executor = Executor()
    executor._context = context
    executor.Do({"examples": [examples]}, {"receipt": [artifact]}, {"settings": json.dumps(settings)})
    return json.loads((Path(artifact.uri) / "receipt.json").read_text())


def test_receipt(splits, base, write_artifact, empty_artifact):
    examples, artifact = write_artifact(splits), empty_artifact("receipt", TrainingReceipt)
    receipt = run(examples, artifact)
    train, evaluation = receipt["splits"]["train"], receipt["splits"]["eval"]
    assert (train["rows"], train["supervised_tokens"], evaluation["supervised_tokens"]) == (301, 602, 2)
    assert train["rows_with_supervised_end_token"] == 300
    assert train["truncated"]["full_length"]["max"] == 8
    assert receipt["violations"] == []
    # The Trainer counts the same in the same files.
    files = [str(path) for path in (Path(examples.uri) / "Split-train").glob("*")]
    statistics = measure(files, MAX_LENGTH, 100_000)
    assert (statistics.num_examples, statistics.num_target_tokens) == (train["rows"], train["supervised_tokens"])
    assert statistics.num_tokens == train["tokens"] - train["rows"]
    # What is on the artifact, and nothing beside the receipt in its folder.
    recorded = {name: artifact.get_int_custom_property(name) for name in ("rows", "rows_truncated", "eval_rows")}
    assert recorded == {"rows": 301, "rows_truncated": 1, "eval_rows": 1}
    assert artifact.get_string_custom_property("split") == "train"
    assert [path.name for path in Path(artifact.uri).iterdir()] == ["receipt.json"]
    assert receipt["end_tokens"] == [{"id": base.end, "text": "<|endoftext|>"}]
    # Three examples, with their mask.
    assert [example["rule"] for example in receipt["examples"]] == [""] * 3
    example = receipt["examples"][0]
    assert example["supervised_spans"] == [[2, 4]]
    assert [(p["text"], p["num_tokens"], p["weight"], p["special"]) for p in example["pieces"]] == [
        ("<|endoftext|>", 1, 0, True),
        (base.texts.one(40), 1, 0, False),
        (base.texts.one(41), 1, 1, False),
        ("<|endoftext|>", 1, 1, True),
    ]


def test_a_rule_stops_the_run_and_the_receipt_stays(splits, base, write_artifact, empty_artifact, tmp_path):
    splits["train"][7]["token_ids"] = [base.start, base.start, 41, base.end]
    context = types.SimpleNamespace(
        pipeline_run_id="20261130-0000",
        pipeline_node=types.SimpleNamespace(node_info=types.SimpleNamespace(id="Round0Receipt")),
    )
    examples, folder = write_artifact(splits), tmp_path / "receipts"
    with pytest.raises(UserError) as caught:
        run(examples, empty_artifact("one", TrainingReceipt), context, str(folder), truncated_rows={"max_fraction": 0})
    copy = folder / "20261130-0000.Round0Receipt.json"
    lines = str(caught.value).splitlines()
    assert lines[0] == "what the loss would see breaks a rule; nothing was trained."
    assert lines[1].startswith("  doubled_start_token: no row may begin with the start token twice.")
    assert "1 of 301 rows (0.33 %), for example row 7." in lines[1]
    assert lines[2:] == [f"With examples and their mask: python -m pipeline receipt {copy}"]
    kept = json.loads(copy.read_text())
    # What is only warned of is in the receipt too, and each broken rule has an example.
    assert [(v["rule"], v["level"]) for v in kept["violations"]] == [
        ("doubled_start_token", "error"),
        ("special_ids_in_text", "warn"),
        ("truncated_rows", "warn"),
    ]
    assert [(e["rule"], e["example_id"]) for e in kept["examples"]][3:] == [
        ("doubled_start_token", "row 7"),
        ("special_ids_in_text", "row 7"),
        ("truncated_rows", "long"),
    ]


def test_an_allowed_rule_lets_the_run_go_on(splits, base, write_artifact, empty_artifact):
    splits["train"][7]["token_ids"] = [base.start, base.start, 41, base.end]
    artifact = empty_artifact("receipt", TrainingReceipt)
    run(write_artifact(splits), artifact, doubled_start_token="warn", special_ids_in_text=False)
    assert artifact.get_string_custom_property("warnings") == "doubled_start_token"


def test_several_broken_rules_are_told_together(splits, write_artifact, empty_artifact):
    for example in splits["train"]:
        example["loss_weight"], example["num_response_tokens"] = [0.0] * len(example["token_ids"]), [0]
    splits["eval"] = []
    with pytest.raises(UserError) as caught:
        run(write_artifact(splits), empty_artifact("receipt", TrainingReceipt))
    lines = str(caught.value).splitlines()
    assert lines[0] == "what the loss would see breaks 2 rules; nothing was trained."
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "no_supervised_token",
        "rows_without_supervised_token",
        "no_supervised_token",
    ]
    assert "Received in the eval split: none in 0 rows." in lines[3]
