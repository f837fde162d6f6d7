"""The committed preset: it loads, is small, does what its card says."""

import json
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
import pytest

import data
from data.base.card import make_card
from data.base.evaluate_base import encode, get_logits

PRESET = Path(data.__file__).parent / "base" / "tiny_gpt2_en"
# Written for this test, in the manner of the training text; it stands in no book.
FRESH = (
    "Mr. Harding had been in the garden for an hour, and when he came into the house again his daughter saw that he was "
    'very tired. "My dear," said he, "I have been thinking of what you told me last night, and I do not believe that we '
    'shall be able to go to London before the spring."'
)


@pytest.fixture(scope="module")
def model() -> Any:
    return keras_hub.models.CausalLM.from_preset(str(PRESET))


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return json.loads((PRESET / "training.json").read_text(encoding="utf-8"))


def get_losses(model: Any, token_ids: list[int]) -> np.ndarray:
    """Return the loss in nats of each of `token_ids`, after the end token that starts a document."""
    window = np.array([[model.preprocessor.tokenizer.end_token_id, *token_ids]])
    logits = np.array(get_logits(model.backbone, window[:, :-1]), "float64")[0]
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -log_probabilities[np.arange(len(token_ids)), token_ids]


def test_it_loads_in_float32_with_all_its_parts(model: Any) -> None:
    assert isinstance(model, keras_hub.models.GPT2CausalLM)
    assert {variable.dtype for variable in model.backbone.variables} == {"float32"}
    assert model.dtype_policy.name == model.backbone.dtype_policy.name == "float32"
    assert isinstance(model.preprocessor.tokenizer, keras_hub.tokenizers.GPT2Tokenizer)
    assert model.preprocessor.sequence_length == model.backbone.max_sequence_length == 512


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in PRESET.rglob("*") if path.is_file()) <= 12 * 1024**2


def test_tokenizer_and_backbone_agree_on_the_vocabulary(model: Any) -> None:
    tokenizer = model.preprocessor.tokenizer
    assert tokenizer.vocabulary_size() == model.backbone.vocabulary_size == 4096
    assert tokenizer.end_token_id == tokenizer.start_token_id == 4095
    # As in GPT-2, id 0 is an ordinary token and not one for padding alone.
    assert tokenizer.id_to_token(0) == "!" and tokenizer.pad_token_id == 0


TEXTS = [
    FRESH,
    "### Instruction:\nWhich number is larger, 17 or 42?\n\n### Response:\n42",
    " leading, trailing \tand  double spaces \n\n\n",
    'She\'ll say: "I\'M here--DON\'T!" {"a": [1, 2.50]}',
    "caf\u00e9 \u6771\u4eac \u20ac5 \u2019 \U0001f642\U0001f642 \u00d7",
    "before<|endoftext|>after",
    "A\r\nB\x00C",
]


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_gives_every_text_back(model: Any, text: str) -> None:
    tokenizer = model.preprocessor.tokenizer
    assert tokenizer.detokenize(tokenizer(text)) == text


@pytest.mark.parametrize("text", [text for text in TEXTS if "\x00" not in text])
def test_tokenizer_gives_the_same_ids_in_a_tensorflow_graph(model: Any, text: str) -> None:
    import tensorflow as tf

    tokenizer = model.preprocessor.tokenizer
    in_graph = tf.function(lambda texts: tokenizer(texts))(tf.constant([text]))
    assert in_graph.to_list()[0] == encode(tokenizer, [text])[0]


def test_prompts_are_short(model: Any) -> None:
    rows = (PRESET.parents[1] / "sample" / "instructions.jsonl").read_text(encoding="utf-8").splitlines()[:1000]
    prompts = [
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n{output}".format_map(json.loads(row))
        for row in rows
    ]
    assert np.percentile([len(ids) for ids in encode(model.preprocessor.tokenizer, prompts)], 99) < 96


def test_it_has_learned_its_language(model: Any) -> None:
    losses = get_losses(model, encode(model.preprocessor.tokenizer, [FRESH])[0])
    perplexity = np.exp(losses.mean())
    assert perplexity < model.backbone.vocabulary_size / 20
    # And from the order of the words, not only from how frequent they are.
    shuffled = np.random.default_rng(0).permutation(encode(model.preprocessor.tokenizer, [FRESH])[0]).tolist()
    assert perplexity < 0.5 * np.exp(get_losses(model, shuffled).mean())


def test_every_position_is_trained(model: Any) -> None:
    """A fresh sentence costs about the same wherever in the window it stands."""
    tokenizer = model.preprocessor.tokenizer
    ids = encode(tokenizer, [FRESH])[0]
    newline = encode(tokenizer, ["\n"])[0]
    other = encode(tokenizer, ["The lamp was lit, and the old man sat down to write to his sister. " * 30])[0]
    first = get_losses(model, ids).mean()
    last = get_losses(model, [*other[: 512 - len(ids) - 1], *newline, *ids])[-len(ids) :].mean()
    assert last < first + 0.7


def test_it_generates_text(model: Any) -> None:
    text = model.generate("The old man", max_length=12)
    assert text.startswith("The old man") and len(text) > len("The old man")


def test_record_and_config_agree(model: Any, record: dict[str, Any]) -> None:
    assert record["num_parameters"] == model.backbone.count_params()
    assert len(record["corpus"]) == 19
    assert record["held_out_perplexity"] < record["unigram_perplexity"] / 3
    assert record["held_out_bits_per_byte"] < record["unigram_bits_per_byte"]


def test_card_is_made_of_the_record_and_the_config(model: Any, record: dict[str, Any]) -> None:
    card = (PRESET / "README.md").read_text(encoding="utf-8")
    assert card == make_card(record, model.backbone.get_config())
    for figure in (
        f"this model | {record['held_out_perplexity']:.1f} | {record['held_out_bits_per_byte']:.3f} |",
        f"token frequencies alone | {record['unigram_perplexity']:.1f} | {record['unigram_bits_per_byte']:.3f} |",
        f"| tokens seen | {record['tokens_seen']:,} ",
        f"| wall time | {record['training_minutes']:.1f} minutes",
        "| `num_layers` | 4 |",
    ):
        assert figure in card


def test_card_of_an_unfinished_run_says_so(model: Any, record: dict[str, Any]) -> None:
    unfinished = {
        name: value for name, value in record.items() if not name.startswith(("held_out_p", "held_out_b", "unigram"))
    }
    card = make_card(unfinished, model.backbone.get_config())
    assert "Not measured" in card and "perplexity a token" not in card
