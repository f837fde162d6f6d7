"""The Predictor on an exported model whose answers are known."""

import json

import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.errors import UserError
from components.predictor.executor import Executor
from components.splits import read_records

CARD = {
    "tokenizer_sha256": "a",
    "template": "alpaca",
    "system": "",
    "max_length": 9,
    "generation": {"max_new_tokens": 2},
}


class Model(tf.Module):
    """Completes everything with `yes`; the losses are the numbers of tokens."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def score(self, examples):
        parsed = tf.io.parse_example(examples, {"token_ids": tf.io.RaggedFeature(tf.int64)})
        count = tf.cast(parsed["token_ids"].row_lengths(), tf.float32)
        return {"nll_sum": count, "token_count": count, "correct_count": 0 * count, "byte_count": 2 * count}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(self, examples):
        written = tf.fill(tf.shape(examples), 2.0)
        return {**self.score(examples), "completion": tf.fill(tf.shape(examples), "yes"), "completion_tokens": written}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="prompt"),
            tf.TensorSpec([None], tf.string, name="continuation"),
            tf.TensorSpec([], tf.bool, name="end"),
        ]
    )
    def score_text(self, prompt, continuation, end):
        length = tf.strings.length(prompt) * 100 + tf.strings.length(continuation) * 10 + tf.cast(end, tf.int32)
        return {"nll_sum": tf.cast(length, tf.float32)}


@pytest.fixture
def model(tmp_path):
    def make(name, **card):
        artifact = standard_artifacts.Model()
        artifact.uri = str(tmp_path / name)
        module, folder = Model(), tmp_path / name / "Format-Serving"
        signatures = {name: getattr(module, name) for name in ("evaluate", "score", "score_text")}
        tf.saved_model.save(module, str(folder), signatures=signatures)
        (folder / "assets.extra").mkdir()
        (folder / "assets.extra" / "model_card.json").write_text(json.dumps({**CARD, **card}))
        return artifact

    return make


@pytest.fixture
def examples(tmp_path):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path / "examples")
    artifact.split_names = artifact_utils.encode_split_names(["eval", "test"])
    for split, number in (("eval", 0), ("test", 7)):
        folder = artifact_utils.get_split_uri([artifact], split)
        tf.io.gfile.makedirs(folder)
        with tf.io.TFRecordWriter(f"{folder}/data.gz", "GZIP") as writer:
            for i in range(number):
                example = tf.train.Example()
                options = json.dumps(["no", f"a{'b' * i}"])
                texts = {"example_id": str(i), "category": "a", "response": "no", "prompt": "p", "options": options}
                for name, text in texts.items():
                    example.features.feature[name].bytes_list.value.append(text.encode())
                example.features.feature["token_ids"].int64_list.value.extend(range(i + 1))
                example.features.feature["prompt_length"].int64_list.value.append(i)
                example.features.feature["tokens_cut"].int64_list.value.extend([5 * (i == 0), i])
                example.features.feature["target_mask"].int64_list.value.extend([1] * (i + 1))
                writer.write(example.SerializeToString())
    return artifact


def predict(tmp_path, inputs, split="test", complete=True, choices=None):
    target = standard_artifacts.InferenceResult()
    target.uri = str(tmp_path / "predictions")
    (tmp_path / "predictions").mkdir()
    prediction = {"split": split, "batch_size": 3, "complete": complete, "choices": choices}
    Executor().Do(inputs, {"predictions": [target]}, {"prediction": json.dumps(prediction)})
    files = sorted((tmp_path / "predictions").glob("predictions*"))
    found = [
        tf.train.Example.FromString(record).features.feature for file in files for record in read_records(str(file))
    ]
    return target, sorted(found, key=lambda values: values["example_id"].bytes_list.value[0])


def test_what_is_written(tmp_path, model, examples):
    target, found = predict(tmp_path, {"examples": [examples], "model": [model("model")]})
    assert [values["nll_sum"].float_list.value[0] for values in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [values["byte_count"].float_list.value[0] for values in found] == [2, 4, 6, 8, 10, 12, 14]
    for values in found:
        texts = {name: values[name].bytes_list.value[0] for name in ("completion", "response", "prompt", "category")}
        assert texts == {"completion": b"yes", "response": b"no", "prompt": b"p", "category": b"a"}
        assert "token_ids" not in values
    assert target.get_int_custom_property("examples") == 7
    assert target.get_int_custom_property("target_tokens") == 28
    assert target.get_int_custom_property("completion_tokens") == 14


@pytest.mark.parametrize(("complete", "cut"), [(True, 4), (False, 0)])
def test_prompts_that_were_cut_are_counted(tmp_path, model, examples, complete, cut):
    """The examples' prompts have 0 to 6 tokens; of the first one, the Tokenizer has cut some."""
    target, _ = predict(
        tmp_path, {"examples": [examples], "model": [model("model", max_prompt_length=3)]}, complete=complete
    )
    assert target.get_int_custom_property("prompts_cut") == cut


def test_without_completions_none_are_generated(tmp_path, model, examples):
    _, found = predict(tmp_path, {"examples": [examples], "model": [model("model")]}, complete=False)
    assert len(found) == 7
    assert all("completion" not in values for values in found)


def test_no_model_gives_no_predictions(tmp_path, examples):
    target, found = predict(tmp_path, {"examples": [examples], "model": []})
    assert found == []
    assert target.get_string_custom_property("reason") == "there is no such model"


def test_a_model_of_another_tokenizer_is_not_asked(tmp_path, model, examples):
    inputs = {"examples": [examples], "model": [model("old", tokenizer_sha256="b")], "like": [model("new")]}
    target, found = predict(tmp_path, inputs)
    assert found == []
    assert target.get_string_custom_property("reason") == "it has another tokenizer_sha256"


def test_an_empty_split_is_an_error(tmp_path, model, examples):
    with pytest.raises(UserError, match="the split `eval`.* must hold examples"):
        predict(tmp_path, {"examples": [examples], "model": [model("model")]}, split="eval")


@pytest.mark.parametrize(
    ("choices", "losses", "answers"),
    [
        ({"texts": ["yes", "no"], "column": None, "end_token": True}, [131, 121], [1]),
        ({"texts": ["a", "bc"], "column": None, "end_token": False}, [110, 120], []),
    ],
)
def test_losses_of_choices(tmp_path, model, examples, choices, losses, answers):
    inputs = {"examples": [examples], "model": [model("model")]}
    _, found = predict(tmp_path, inputs, complete=False, choices=choices)
    for values in found:
        assert list(values["choice_nll"].float_list.value) == losses
        assert list(values["choice_answers"].int64_list.value) == answers


def test_choices_stand_behind_what_the_template_writes_before_an_answer(tmp_path, model, examples):
    choices = {"texts": ["yes", "no"], "column": None, "end_token": True}
    inputs = {"examples": [examples], "model": [model("model", opening="<think>")]}
    _, found = predict(tmp_path, inputs, complete=False, choices=choices)
    assert list(found[0]["choice_nll"].float_list.value) == [131 + 70, 121 + 70]
    assert list(found[0]["choices"].bytes_list.value) == [b"yes", b"no"]


def test_choices_of_each_example(tmp_path, model, examples):
    choices = {"texts": None, "column": "options", "end_token": False}
    _, found = predict(tmp_path, {"examples": [examples], "model": [model("model")]}, choices=choices)
    for i, values in enumerate(found):
        assert list(values["choices"].bytes_list.value) == [b"no", b"a" + b"b" * i]
        assert list(values["choice_nll"].float_list.value) == [120, 110 + 10 * i]
        assert list(values["choice_answers"].int64_list.value) == [0]


@pytest.mark.parametrize(("card", "reason"), [({}, "it has another opening"), ({"opening": "<think>"}, "")])
def test_answers_with_and_without_what_a_template_writes_before_them_are_not_compared(
    tmp_path, model, examples, card, reason
):
    inputs = {"examples": [examples], "model": [model("old", **card)], "like": [model("new", opening="<think>")]}
    target, _ = predict(tmp_path, inputs)
    assert target.get_string_custom_property("reason") == reason


def test_choices_are_cleaned_as_the_examples_were(tmp_path, model, examples):
    """A baseline of another level of cleaning is asked about the examples of this run."""
    choices = {"texts": ["no", "no\u00a0no"], "column": None, "end_token": False}
    inputs = {
        "examples": [examples],
        "model": [model("old", cleaning="normalize")],
        "like": [model("new", cleaning="none")],
    }
    _, found = predict(tmp_path, inputs, choices=choices)
    assert found[0]["choices"].bytes_list.value[1].decode() == "no\u00a0no"


def test_column_that_holds_no_choices(tmp_path, model, examples):
    choices = {"texts": None, "column": "category", "end_token": False}
    with pytest.raises(Exception, match="must hold a list of at least two texts. Received: 'a' in example"):
        predict(tmp_path, {"examples": [examples], "model": [model("model")]}, choices=choices)
