"""Influence on tiny models, against the plain formula on all logits."""

import json
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from components.errors import UserError
from components.token_scorer import handler, losses
from components.token_scorer.executor import Executor, draw_influence, find_reference
from components.token_scorer.handler import BatchByLength, InfluenceModels, parse_example
from components.trainer.model import load_model

PRESET = str(Path(__file__).resolve().parents[3] / "data" / "base" / "tiny_gpt2_en")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The preset with other weights: deterministic, and different for every token."""
    folder = str(tmp_path_factory.mktemp("reference") / "preset")
    model = load_model(PRESET)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(ops.convert_to_numpy(weight) * (1 + 0.05 * rng.normal(size=weight.shape)))
    model.save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def models(reference):
    return InfluenceModels(PRESET, reference, "float32")


def make_examples(num_examples=40, seed=1):
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(num_examples):
        length = int(rng.integers(2, 30))
        mask = (rng.random(length) < 0.4).astype(int)
        mask[-1] = 1
        ids = rng.integers(0, 4096, length)
        examples.append(
            {"example_id": f"id{i}", "token_ids": ids.tolist(), "target_mask": mask.tolist(), "prompt": "p"}
        )
    return examples


def parse(example):
    record = tf.train.Example()
    for name in ("token_ids", "target_mask"):
        record.features.feature[name].int64_list.value.extend(example[name])
    record.features.feature["example_id"].bytes_list.value.append(example["example_id"].encode())
    return parse_example(record.SerializeToString())


def compute_plainly(model, token_ids):
    """Loss of every token but the first, from all logits, float64 (n - 1,)."""
    ids = np.int32([token_ids])
    logits = ops.convert_to_numpy(model({"token_ids": ids, "padding_mask": np.ones_like(ids)}))[0].astype("float64")
    log_sum = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    return (log_sum - np.take_along_axis(logits, np.roll(ids[0], -1)[:, None], 1)[:, 0])[:-1]


def test_influence_is_the_difference_of_losses_in_the_place_of_the_token(models, reference):
    examples = make_examples(8)
    base, other = load_model(PRESET), load_model(reference)
    for example, influence in zip(examples, models.score([parse(e) for e in examples]), strict=True):
        ids = example["token_ids"]
        expected = compute_plainly(base, ids) - compute_plainly(other, ids)
        columns = [t for t in range(1, len(ids)) if example["target_mask"][t]]
        np.testing.assert_allclose(influence, [expected[t - 1] for t in columns], atol=2e-4)
        assert np.abs(influence).max() > 0.01


def test_neither_the_batch_nor_the_chunks_change_the_scores(models, monkeypatch):
    examples = [parse(e) for e in make_examples()]
    together = models.score(examples)
    for example, expected in zip(examples[:10], together, strict=False):
        np.testing.assert_allclose(models.score([example])[0], expected, atol=1e-4)
    monkeypatch.setattr(losses, "LOGITS_PER_CHUNK", 4096 * 7)  # 7 positions at once
    compute = losses.TokenLosses(load_model(PRESET))
    assert compute._chunk == 7
    whole = models._base
    ids = np.int32([range(1, 24)])
    for num_targets in (1, 7, 20):
        arguments = ids, np.ones_like(ids), np.arange(num_targets, dtype="int32"), ids[0, 1 : num_targets + 1]
        np.testing.assert_allclose(compute(*arguments), whole(*arguments), atol=1e-4)


def test_there_is_no_array_of_batch_by_length_by_vocabulary(models):
    """The only arrays as wide as the vocabulary have one row for each target of a chunk."""
    graph = models._base._compute.get_concrete_function().graph
    functions = [graph, *(graph._get_function(name).graph for name in graph._functions if graph._get_function(name))]
    wide = [
        t.shape
        for g in functions
        for op in g.get_operations()
        for t in op.outputs
        if t.shape.rank and t.shape[-1] == 4096
    ]
    assert wide
    assert {shape.rank for shape in wide} <= {1, 2}


def test_batches_are_of_similar_length_and_full(monkeypatch):
    examples = make_examples(200)
    batcher = BatchByLength(batch_size=8)
    batcher.start_bundle()
    records = [parse(e).serialized for e in examples]
    full = [batch for record in records for batch in batcher.process(record)]
    rest = [value.value for value in batcher.finish_bundle()]
    assert {len(batch) for batch in full} == {8}
    assert sorted(e.serialized for batch in full + rest for e in batch) == sorted(records)
    for batch in full + rest:
        lengths = [len(e.token_ids) for e in batch]
        assert max(lengths) <= 1.25**2 * min(lengths)  # a length bucket, and what rounding to whole tokens adds
    assert list(batcher.finish_bundle()) == []


def run_executor(source, target, **scoring):
    scoring = {"strategy": "fixed", "split": "train", "base": PRESET, "reference": "", **scoring}
    scoring = {"dtype": "float32", "batch_size": 8, "seed": 0, **scoring}
    Executor().Do({"examples": [source]}, {"scored_examples": [target]}, {"scoring": json.dumps(scoring)})


def test_the_component_scores_the_split_and_copies_eval(
    write_artifact, read_artifact, empty_artifact, models, reference
):
    examples = make_examples()
    evaluation = make_examples(3, seed=2)
    source, target = write_artifact({"part_1": examples, "eval": evaluation}), empty_artifact("scored")
    run_executor(source, target, split="part_1", reference=reference)
    assert json.loads(target.split_names) == ["train", "eval"]
    assert read_artifact(target, "eval") == evaluation
    scored = {e["example_id"]: e for e in read_artifact(target, "train")}
    assert len(scored) == len(examples)
    for example, influence in zip(examples, models.score([parse(e) for e in examples]), strict=True):
        found = scored[example["example_id"]]
        assert {k: v for k, v in found.items() if k != "token_influence"} == example
        values = np.array(found["token_influence"])
        columns = np.array([t for t in range(1, len(values)) if example["target_mask"][t]])
        np.testing.assert_allclose(values[columns], influence, atol=1e-4)
        assert not np.delete(values, columns).any()
    num_tokens = sum(sum(e["target_mask"][1:]) for e in examples)
    assert target.get_int_custom_property("target_tokens") == num_tokens
    assert target.get_int_custom_property("examples") == len(examples)
    assert target.get_string_custom_property("reference") == reference


def test_random_scores_are_the_same_on_every_run_and_other_for_another_seed(
    write_artifact, read_artifact, empty_artifact
):
    examples = make_examples(200)
    source, target = write_artifact({"train": examples, "eval": []}), empty_artifact("scored")
    run_executor(source, target, strategy="random", base="", seed=3)
    values = []
    for example in read_artifact(target, "train"):
        parsed = parse(example)
        expected = draw_influence(parsed, 3)
        np.testing.assert_array_equal(np.float32(example["token_influence"])[parsed.target_columns], expected)
        assert (draw_influence(parsed, 4) != expected).all()
        values += expected.tolist()
    assert abs(np.mean(values) - 0.5) < 0.02
    assert 0 <= min(values) < 0.01 and 0.99 < max(values) < 1


def test_a_split_without_response_tokens_is_refused(write_artifact, empty_artifact):
    nothing = [{"example_id": "a", "token_ids": [1, 2], "target_mask": [1, 0]}]
    source = write_artifact({"part_3": nothing, "eval": []})
    with pytest.raises(UserError, match="1 examples without any in part_3"):
        run_executor(source, empty_artifact("scored"), strategy="random", split="part_3")


def test_the_reference_is_the_trained_model_if_there_is_one(empty_artifact):
    model = empty_artifact("model")
    assert find_reference({"reference_model": [model]}, "") == f"{model.uri}/preset"
    assert find_reference({"reference_model": []}, "some/preset") == "some/preset"


def test_losses_that_are_no_numbers_are_refused(models, monkeypatch):
    example = parse(make_examples(1)[0])
    monkeypatch.setattr(models, "_reference", lambda *arguments: np.full(len(arguments[2]), np.nan, np.float32))
    with pytest.raises(UserError, match=r"must be finite.*id0.*mixed_bfloat16"):
        models.score([example])


def test_examples_longer_than_a_model_are_refused(models):
    long = {"example_id": "x", "token_ids": [1] * 2000, "target_mask": [1] * 2000}
    with pytest.raises(UserError, match=r"text\.max_length must be at most .*Received: an example of 2000 tokens"):
        models.score([parse(long)])


def make_preset(folder, vocabulary_size, merges=("a b",)):
    keras.utils.set_random_seed(0)
    words = ["<|endoftext|>", "a", "b", "c", "ab", "bc", *(f"x{i}" for i in range(vocabulary_size - 6))]
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer({word: i for i, word in enumerate(words)}, merges)
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=vocabulary_size,
        num_layers=1,
        num_heads=1,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=16,
    )
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer)
    keras_hub.models.GPT2CausalLM(backbone, preprocessor).save_to_preset(str(folder))
    return str(folder)


def test_a_reference_of_other_tokens_is_refused_before_anything_is_scored(tmp_path, monkeypatch):
    base = make_preset(tmp_path / "base", 8)
    more_words = make_preset(tmp_path / "more", 9)
    other_merges = make_preset(tmp_path / "merges", 8, merges=["b c"])
    monkeypatch.setattr(handler, "np", None)  # nothing may be computed
    with pytest.raises(UserError, match="vocabulary.*8 tokens .*9"):
        InfluenceModels(base, more_words, "float32")
    with pytest.raises(UserError, match="different tokenizers"):
        InfluenceModels(base, other_merges, "float32")
