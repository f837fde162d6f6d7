"""The benchmark of a small exported model, end to end: prompts, answers, metrics."""

import json

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.benchmark.executor import Executor
from components.errors import UserError
from components.metrics import sandbox
from components.text.token_texts import byte_symbols
from components.trainer.export import export_model

END = "<|endoftext|>"
ASKED = {
    "shots": 0, "shots_from": None, "limit": None, "seed": 0, "batch_size": 2, "max_new_tokens": None, "samples": 1,
    "resamples": 200,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    vocabulary = {symbol: i for i, symbol in enumerate([*byte_symbols(), "th", END])}
    tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=["t h"])
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=258, num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=16, max_sequence_length=160
    )
    for variable in backbone.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(variable.numpy() * 10)
    return keras_hub.models.GPT2CausalLM(
        backbone=backbone, preprocessor=keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=160)
    )


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "1"
    text = {"template": "plain", "system": "", "max_length": 160}
    export_model(model, str(folder), text, {"max_new_tokens": 4, "sampler": {"name": "top_p"}})
    return folder


@pytest.fixture
def run(exported, tmp_path):
    def run(suite, data, **options):
        artifacts = [
            standard_artifacts.Model(),
            standard_artifacts.InferenceResult(),
            standard_artifacts.ModelEvaluation(),
        ]
        for artifact, uri in zip(artifacts, (exported, tmp_path / "predictions", tmp_path / "evaluation"), strict=True):
            artifact.uri = str(uri)
        model, predictions, evaluation = artifacts
        Executor().Do(
            {"model": [model]},
            {"predictions": [predictions], "evaluation": [evaluation]},
            {"benchmark": json.dumps(ASKED | {"suite": suite, "data": str(data)} | options)},
        )
        records = []
        for path in sorted((tmp_path / "predictions").glob("predictions-*")):
            for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
                records.append(tf.train.Example.FromString(record).features.feature)
        written = json.loads((tmp_path / "evaluation" / "benchmark.json").read_text())
        assert json.loads(evaluation.get_string_custom_property("metrics")) == written["metrics"]
        return written, records

    return run


def _loss(model, prompt, continuation):
    """Of a continuation's tokens, which are its bytes, by the whole forward pass."""
    tokenizer = model.preprocessor.tokenizer
    ids = [tokenizer.start_token_id, *map(int, tokenizer(prompt + continuation))]
    logits = model({"token_ids": np.array([ids]), "padding_mask": np.ones((1, len(ids)))}).numpy()[0].astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    begin = len(ids) - len(continuation.encode())
    return -sum(log_probabilities[i - 1, ids[i]] for i in range(begin, len(ids)))


def test_choices_are_scored_as_continuations(run, model, tmp_path):
    rows = [f"{'long ' * i}question {i}?,a,b,c,d,{i % 4}" for i in range(5)]
    (tmp_path / "maths_test.csv").write_text("\n".join(rows))
    result, records = run("mmlu", tmp_path / "maths_test.csv")
    right = 0
    for record in records:
        prompt = record["prompt"].bytes_list.value[0].decode()
        losses = [_loss(model, prompt, f" {letter}") for letter in "ABCD"]
        np.testing.assert_allclose(record["choice_nll"].float_list.value, losses, rtol=1e-4)
        right += int(np.argmin(losses)) == record["choice_answers"].int64_list.value[0]
    assert result["tasks"] == len(records) == 5
    overall = result["metrics"]["overall"]
    assert overall["choice_accuracy"] == pytest.approx(right / 5)
    assert result["metrics"]["subject=maths"] == overall
    low, high = result["intervals"]["overall"]["choice_accuracy"]
    assert 0 <= low <= overall["choice_accuracy"] <= high <= 1


def test_written_answers_are_cut_and_measured(run, tmp_path):
    lines = [json.dumps({"question": f"{i} + 1?", "answer": f"#### {i + 1}"}) for i in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    result, records = run("gsm8k", tmp_path / "a.jsonl", max_new_tokens=12)
    assert [len(record["completion"].bytes_list.value) for record in records] == [1, 1, 1]
    assert all(len(record["completion"].bytes_list.value[0]) <= 12 * 3 for record in records)
    assert result["metrics"]["overall"] == {"number_match": 0.0, "example_count": 3.0}


@pytest.mark.skipif(sandbox.find_problem() is not None, reason="this machine allows no name spaces")
def test_several_samples_of_programs(run, tmp_path):
    record = {"task_id": "t", "prompt": "x = '''", "test": "'''\ndef check(f): pass", "entry_point": "x"}
    (tmp_path / "h.jsonl").write_text(json.dumps(record | {"canonical_solution": ""}))
    result, records = run("humaneval", tmp_path / "h.jsonl", max_new_tokens=8, samples=3)
    completions = records[0]["completion"].bytes_list.value
    assert len(completions) == 3
    assert len(set(completions)) > 1
    values = result["metrics"]["overall"]
    assert 0 <= values["pass_at_1"] <= values["pass_at_3"] <= 1


def test_answers_that_leave_no_room_for_the_task(run, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "?", "answer": "#### 1"}))
    with pytest.raises(UserError, match=r"at most half of the model's 160 positions.* Set --max-new-tokens to 80"):
        run("gsm8k", tmp_path / "a.jsonl")


def test_prompt_that_is_too_long_loses_its_beginning(exported, model):
    signature = tf.saved_model.load(str(exported)).signatures["score_text"]
    prompt = "".join(chr(97 + i % 26) for i in range(300))
    loss = signature(prompt=tf.constant([prompt]), continuation=tf.constant([" B"]), end=tf.constant(False))
    # 160 positions and one token more that is only predicted, of which two are the continuation's.
    tokenizer = model.preprocessor.tokenizer
    ids = list(map(int, tokenizer(prompt + " B")))[-161:]
    logits = model({"token_ids": np.array([ids[:-1]]), "padding_mask": np.ones((1, 160))}).numpy()[0].astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -sum(log_probabilities[i - 1, ids[i]] for i in (159, 160))
    assert float(loss["nll_sum"][0]) == pytest.approx(expected, rel=1e-4)
    assert (float(loss["token_count"][0]), float(loss["byte_count"][0])) == (2, 2)


def test_end_token_counts_if_asked_for(exported, model):
    signature = tf.saved_model.load(str(exported)).signatures["score_text"]
    outputs = signature(prompt=tf.constant(["a"]), continuation=tf.constant(["bc"]), end=tf.constant(True))
    tokenizer = model.preprocessor.tokenizer
    ids = [tokenizer.start_token_id, *map(int, tokenizer("abc")), tokenizer.end_token_id]
    logits = model({"token_ids": np.array([ids]), "padding_mask": np.ones((1, 5))}).numpy()[0].astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert float(outputs["nll_sum"][0]) == pytest.approx(
        -sum(log_probabilities[i - 1, ids[i]] for i in (2, 3, 4)), rel=1e-4
    )
    assert (float(outputs["token_count"][0]), float(outputs["byte_count"][0])) == (3, 2)


def test_model_of_an_earlier_version(run, tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "?", "answer": "#### 1"}))

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="prompt")])
        def complete(self, prompt):
            return {"completion": prompt}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "old"), signatures={"complete": module.complete})
    monkeypatch.setattr("components.trainer.served_functions.find_saved_model", lambda uri: str(tmp_path / "old"))
    with pytest.raises(Exception, match="must have the signatures generate, score_text") as caught:
        run("gsm8k", tmp_path / "a.jsonl")
    causes = []
    error = caught.value
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    assert any(isinstance(cause, UserError) for cause in causes)
