"""The exported model computes what the live model computes, in a process that has no Keras."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.errors import UserError
from components.trainer import decoding, export, model_card
from components.trainer import verify_export as verify
from components.trainer.model import save_preset
from components.trainer.samplers import make_sampler
from components.trainer.slice_update import slice_update
from components.trainer.verify_export import ExportMismatchError, verify_export

END = "<|endoftext|>"
TEXT = {"template": "alpaca", "system": "Be\u200b kind.", "max_length": 96}
GENERATION = {"max_new_tokens": 6}
PROMPTS = ["hello", "", "the thing in \u00e9 " * 12, f"a {END} b", "x" * 40]
REQUESTS = ["  say\u00a0hi\r\n", "", f"stop{END}"]

# Runs every signature where Keras cannot be imported. `import tensorflow` imports Keras wherever it is installed, and so does the
# Python of tensorflow_text, of which only the operations are taken.
CLIENT = """
import importlib.util, json, pathlib, sys
sys.modules["keras"] = sys.modules["keras_hub"] = None  # to import them is an error now
import tensorflow as tf
text = pathlib.Path(importlib.util.find_spec("tensorflow_text").origin).parent / "python" / "ops"
for library in ("_normalize_ops.so", "_regex_split_ops.so"):
    tf.load_op_library(str(text / library))
directory, given = sys.argv[1], json.load(open(sys.argv[2]))
signatures = tf.saved_model.load(directory).signatures
examples = tf.constant([bytes.fromhex(e) for e in given["examples"]])
out = {
    "serving_default": signatures["serving_default"](prompt=tf.constant(given["requests"])),
    "complete": signatures["complete"](prompt=tf.constant(given["prompts"])),
    "score": signatures["score"](examples=examples),
    "evaluate": signatures["evaluate"](examples=examples),
    "none": signatures["evaluate"](examples=tf.constant([], tf.string)),
}
read = lambda t: [v.decode() if isinstance(v, bytes) else float(v) for v in t.numpy()]
json.dump({
    "outputs": {name: {k: read(v) for k, v in o.items()} for name, o in out.items()},
    "keras": [name for name, module in sys.modules.items() if name.startswith("keras") and module],
}, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def model(make_text_model):
    return make_text_model()


def _example(token_ids, target_mask, response=b"answer"):
    example = tf.train.Example()
    example.features.feature["token_ids"].int64_list.value.extend(token_ids)
    example.features.feature["target_mask"].int64_list.value.extend(target_mask)
    example.features.feature["response"].bytes_list.value.append(response)
    return example.SerializeToString()


@pytest.fixture(scope="module")
def pairs(model):
    """(token_ids, target_mask) of different lengths: usual ones, one without target, of one token, empty."""
    end = model.preprocessor.tokenizer.end_token_id
    ids = np.random.default_rng(0).integers(0, end, 400).tolist()
    lengths = [(30, 20), (50, 9), (8, 7), (96, 60), (12, 12)]
    return [([end, *ids[n : 2 * n - 1]], [0] * p + [1] * (n - p)) for n, p in lengths] + [([end], [0]), ([], [])]


@pytest.fixture(scope="module")
def records(pairs):
    return [_example(*pair) for pair in pairs]


@pytest.fixture(scope="module")
def saved_model(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "deep" / "model"
    export.export_model(model, str(directory), TEXT, GENERATION, preset="tiny")
    return directory


@pytest.fixture(scope="module")
def client(saved_model, records, tmp_path_factory):
    """What a process without Keras gets from the SavedModel."""
    folder = tmp_path_factory.mktemp("client")
    given = {"examples": [r.hex() for r in records], "prompts": PROMPTS, "requests": REQUESTS}
    (folder / "in.json").write_text(json.dumps(given))
    command = [sys.executable, "-c", CLIENT, saved_model, folder / "in.json", folder / "out.json"]
    subprocess.run(command, check=True, cwd=folder)
    return json.loads((folder / "out.json").read_text())


@pytest.fixture(scope="module")
def complete_alone(model):
    """A function from token ids to the greedy continuation by the whole forward pass, no cache, no padding."""

    def complete(ids):
        ids, new = list(ids)[:1] + list(ids)[1:][-89:], []
        for _ in range(GENERATION["max_new_tokens"]):
            batch = np.array([ids + new], np.int32)
            logits = model({"token_ids": batch, "padding_mask": np.ones_like(batch)}, training=False)
            new.append(int(np.argmax(logits[0, -1])))
        end = model.preprocessor.tokenizer.end_token_id
        new = new[: new.index(end)] if end in new else new
        return model.preprocessor.tokenizer.detokenize(new) if new else ""

    return complete


def _same(completion, other):
    assert completion.replace("\ufffd", "") == other.replace("\ufffd", "")


def test_client_needs_no_keras(client):
    assert client["keras"] == []


def test_scores_equal_numpy_from_live_logits(client, model, pairs):
    score = client["outputs"]["score"]
    for i, (ids, mask) in enumerate(pairs[:5]):
        batch = np.array([ids], np.int32)
        logits = np.asarray(model({"token_ids": batch, "padding_mask": np.ones_like(batch)})[0], np.float64)
        # Token t is a target: it is predicted at t - 1. The first token of a text never is.
        targets = [t for t in range(1, len(ids)) if mask[t]]
        nll = sum(np.log(np.exp(logits[t - 1]).sum()) - logits[t - 1, ids[t]] for t in targets)
        correct = sum(int(np.argmax(logits[t - 1])) == ids[t] for t in targets)
        assert score["token_count"][i] == len(targets)
        assert score["nll_sum"][i] == pytest.approx(nll, rel=1e-4, abs=1e-4)
        assert score["correct_count"][i] == correct
        tokenizer = model.preprocessor.tokenizer
        text = tokenizer.detokenize([ids[t] for t in targets if ids[t] != tokenizer.end_token_id]) if targets else ""
        # A character whose bytes are not all targets counts with those that are.
        assert "\ufffd" in text or score["byte_count"][i] == len(text.encode())
    assert [values[5:] for values in score.values()] == [[0.0, 0.0]] * 4


def test_completions_of_a_batch_equal_those_alone(client, model, complete_alone):
    tokenizer = model.preprocessor.tokenizer
    for prompt, completion in zip(PROMPTS, client["outputs"]["complete"]["completion"], strict=True):
        _same(completion, complete_alone([tokenizer.start_token_id, *map(int, tokenizer(prompt))]))
    assert len(set(client["outputs"]["complete"]["completion"])) > 2


def test_requests_are_cleaned_neutralized_and_rendered(client, model, complete_alone):
    tokenizer = model.preprocessor.tokenizer
    head, tail = "Be kind.\n\n### Instruction:\n", "\n\n### Response:\n"
    for request, completion in zip(
        ["say hi", "", "stop< |endoftext|>"], client["outputs"]["serving_default"]["completion"], strict=True
    ):
        _same(completion, complete_alone([tokenizer.start_token_id, *map(int, tokenizer(head + request + tail))]))


def test_evaluate_scores_and_completes_the_tokens_before_the_first_target(client, pairs, complete_alone, model):
    outputs = client["outputs"]["evaluate"]
    for name, values in client["outputs"]["score"].items():
        assert outputs[name] == pytest.approx(values, rel=1e-5)
    assert outputs["reference"] == ["answer"] * len(pairs)
    assert max(outputs["completion_tokens"]) == GENERATION["max_new_tokens"]
    for count, completion in zip(outputs["completion_tokens"], outputs["completion"], strict=True):
        assert (count == 0) == (completion == "")
    end = model.preprocessor.tokenizer.end_token_id
    for (ids, mask), completion in zip(pairs, outputs["completion"], strict=True):
        prompt = ids[: mask.index(1)] if 1 in mask else ids
        _same(completion, complete_alone(prompt or [end]))
    assert all(values == [] for values in client["outputs"]["none"].values())


def test_generation_stops_at_the_end_token(model):
    ids, lengths = np.array([[5, 6, 7, 8], [9, 0, 0, 0]], np.int32), np.array([4, 1], np.int32)
    new, counts = decoding.generate_tokens(model, ids, lengths, 6, [262])
    assert counts.numpy().tolist() == [6, 6]
    stop = int(new[0, 2])
    first = [row.index(stop) if stop in row else 6 for row in new.numpy().tolist()]
    # Also where the stop token is id 0, with which KerasHub would pad.
    for stop_ids in ([stop], [stop, 0]):
        _, counts = decoding.generate_tokens(model, ids, lengths, 6, stop_ids)
        assert counts.numpy().tolist()[0] == first[0] <= 2
    assert counts[1] == first[1]


def test_completion_ends_before_a_stop_text(model, complete_alone, tmp_path):
    tokenizer = model.preprocessor.tokenizer
    prompt = "hello"
    whole = complete_alone([tokenizer.start_token_id, *map(int, tokenizer(prompt))])
    stop = whole[2:4]
    export.export_model(model, str(tmp_path / "m"), TEXT, {**GENERATION, "stop": ["[never]", stop, "\n"]})
    signature = tf.saved_model.load(str(tmp_path / "m")).signatures["complete"]
    (completion,) = signature(prompt=tf.constant([prompt]))["completion"].numpy()
    assert completion.decode() == whole[: whole.index(stop)].partition("\n")[0]
    verify_export(str(tmp_path / "m"), model, [], [prompt], TEXT, {**GENERATION, "stop": ["[never]", stop, "\n"]})


@pytest.mark.parametrize("sampler", [{"name": "top_k", "k": 3}, {"name": "beam", "beams": 2}])
def test_samplers_are_exported(model, tmp_path, sampler):
    export.export_model(model, str(tmp_path / "m"), TEXT, {**GENERATION, "sampler": sampler, "seed": 3})
    signatures = tf.saved_model.load(str(tmp_path / "m")).signatures
    prompts = tf.constant(["hello", "the thing"])
    completions = signatures["complete"](prompt=prompts)["completion"].numpy()
    tokenizer = model.preprocessor.tokenizer
    for prompt, completion in zip(("hello", "the thing"), completions, strict=True):
        ids = np.array([[tokenizer.start_token_id, *map(int, tokenizer(prompt))]], np.int32)
        stop_ids = decoding.stop_token_ids(tokenizer)
        new, counts = decoding.generate_tokens(
            model, tf.constant(ids), tf.constant([ids.shape[1]]), 6, stop_ids, make_sampler(sampler), 3
        )
        _same(completion.decode(), tokenizer.detokenize(new[0, : int(counts[0])].numpy()))
    longer = signatures["generate"](prompt=prompts, max_new_tokens=tf.constant(12), seed=tf.constant(3))
    for completion, more in zip(completions, longer["completion"].numpy(), strict=True):
        assert sampler["name"] == "beam" or more.startswith(completion[:3])


def test_graph_has_no_xla_and_no_python(saved_model):
    proto = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    names = {node.op for function in graph.library.function for node in function.node_def}
    assert len(names) > 30
    assert not {name for name in names if name.startswith(("Xla", "PyFunc", "EagerPyFunc"))}


def test_weights_are_saved_once_and_blocks_are_one_function(saved_model, model):
    saved = [
        shape
        for name, shape in tf.train.list_variables(str(saved_model / "variables" / "variables"))
        if "VALUE" in name
    ]
    assert sum(int(np.prod(shape)) for shape in saved) == sum(int(np.prod(v.shape)) for v in model.variables)
    assert len(saved) < len(model.weights)
    proto = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    # A block has two layer normalisations: of prefill, of a step, and of scoring.
    assert sum(node.op == "Rsqrt" for function in functions for node in function.node_def) == 3 * (2 + 1)
    constants = [node.attr["value"].tensor.ByteSize() for f in functions for node in f.node_def if node.op == "Const"]
    assert max(constants) < 100_000


def test_slice_update_equals_that_of_keras():
    inputs, updates = np.arange(24).reshape(2, 3, 4), -np.ones((2, 1, 4), int)
    for start in ([0, 1, 0], [0, tf.constant(2), 0], [0, 0, 0]):
        np.testing.assert_array_equal(
            slice_update(inputs, start, updates), keras.ops.slice_update(inputs, start, updates)
        )


def test_model_card(saved_model):
    card = json.loads((saved_model / model_card.MODEL_CARD).read_text(encoding="utf-8"))
    assert re.fullmatch("[0-9a-f]{64}", card.pop("tokenizer_sha256"))
    assert card == {
        "template": "alpaca",
        "system": TEXT["system"],
        "cleaning": "normalize",
        "max_length": 96,
        "max_prompt_length": 90,
        "generation": GENERATION,
        "max_positions": 96,
        "preset": "tiny",
        "template_sha256": None,
        "special_tokens": [END],
        "opening": "",
        "no_serving_default": None,
    }


def test_verify_accepts_the_export_and_refuses_another_model(saved_model, model, records):
    arguments = (str(saved_model), model, records, PROMPTS[:3], TEXT, GENERATION)
    verify_export(*arguments)
    variable = model.backbone.layer_norm.gamma
    before = variable.numpy()
    try:
        variable.assign(before * 1.3)
        with pytest.raises(ExportMismatchError, match=r"example 0 .* tokens live: .* a token apart"):
            verify_export(*arguments)
        variable.assign(before * -1)
        with pytest.raises(ExportMismatchError, match="completion of 'hello'"):
            verify_export(str(saved_model), model, [], PROMPTS[:1], TEXT, GENERATION)
    finally:
        variable.assign(before)


@pytest.mark.parametrize(
    ("dtype", "gap", "is_right"),
    [
        ("float32", 0.0005, True),
        ("float32", 0.002, False),
        ("bfloat16", 0.4, True),  # two units in the last place of 33 are 0.52
        ("bfloat16", 0.6, False),
        ("float16", 0.055, True),
        ("float16", 0.08, False),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_choice_may_differ_by_what_rounding_explains(monkeypatch, dtype, gap, is_right, place):
    logits = np.zeros(
        (4, 5), np.float32
    )  # of the last prompt token and three more: tokens 1 and 2, then the end token 4
    for row, token in zip(logits[1:], (1, 2, 4), strict=True):
        row[token] = 33
    logits[1 + place, 3] = 33 + gap
    monkeypatch.setattr(verify, "_logits", lambda model, token_ids: logits)
    tokenizer = SimpleNamespace(detokenize=str)
    model = SimpleNamespace(compute_dtype=dtype, preprocessor=SimpleNamespace(tokenizer=tokenizer))
    arguments = (model, "hello", [7, 7], [1, 2], 6, [0, 4])
    if is_right:
        verify._verify_choices(*arguments)
        return
    with pytest.raises(ExportMismatchError, match=rf"number {place} the live model takes '\[3\]' \(id 3\)"):
        verify._verify_choices(*arguments)
    if place == 2:  # as many tokens as may be: nothing need end it
        verify._verify_choices(*arguments[:4], 2, [0, 4])


def test_a_text_that_is_not_that_of_its_tokens_is_refused(saved_model, model):
    class Other:
        def complete_with_tokens(self, prompts):
            _, tokens = loaded.complete_with_tokens(prompts)
            return tf.constant(["something else"]), tokens

    loaded = tf.saved_model.load(str(saved_model))
    template = verify.find_served_template(model, TEXT)
    with pytest.raises(ExportMismatchError, match="is 'something else' exported, and its tokens"):
        verify._verify_completions(Other(), model, ["hello"], TEXT, GENERATION, template)


def test_verify_refuses_a_template_that_is_not_the_trained_one(saved_model, model):
    with pytest.raises(ExportMismatchError, match="its rendered prompt with"):
        verify_export(str(saved_model), model, [], [], {**TEXT, "template": "plain"}, GENERATION)


@pytest.mark.parametrize(
    ("text", "generation", "message"),
    [
        ({"max_length": 97}, {}, "at most the 96 positions"),
        ({}, {"max_new_tokens": 95}, "max_new_tokens must leave"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(model, tmp_path, text, generation, message):
    with pytest.raises(UserError, match=message):
        export.export_model(model, str(tmp_path / "m"), TEXT | text, GENERATION | generation)
    assert list(tmp_path.iterdir()) == []


def test_preset_round_trip(model, tmp_path):
    save_preset(model, str(tmp_path / "preset"))
    loaded = keras_hub.models.CausalLM.from_preset(str(tmp_path / "preset"))
    for before, after in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(before.numpy(), after.numpy())
    assert loaded.preprocessor.tokenizer("the thing").tolist() == model.preprocessor.tokenizer("the thing").tolist()
