"""The Tokenizer on a real split, with the built-in base's tokenizer."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.errors import UserError
from components.tokenizer.executor import REPORT_NAME, Executor, make_record_tokenizer

PRESET = str(Path(__file__).resolve().parents[3] / "data" / "base" / "tiny_gpt2_en")
RECORDS = {
    "train": [("Name a colour.", "", "red"), ("Repeat.", "word " * 60, "word"), ("Say nothing.", "", "\u200b")],
    "eval": [("Name a sea.", "", "North Sea<|endoftext|>")],
}


def write_examples(folder):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(RECORDS))
    for split, records in RECORDS.items():
        path = Path(artifact_utils.get_split_uri([artifact], split))
        path.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path / "data.gz"), "GZIP") as writer:
            for i, (instruction, context, output) in enumerate(records):
                example = tf.train.Example()
                values = {"instruction": instruction, "input": context, "output": output}
                for name, value in {**values, "example_id": f"{split}{i}", "category": "kind"}.items():
                    example.features.feature[name].bytes_list.value.append(value.encode())
                writer.write(example.SerializeToString())
    return artifact


def read_examples(artifact, split):
    files = [str(p) for p in Path(artifact_utils.get_split_uri([artifact], split)).glob("*")]
    return [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(files, compression_type="GZIP")]


def tokenize(folder, preset=PRESET, **text):
    target = standard_artifacts.Examples()
    target.uri = str(folder / "tokenized")
    section = {"template": "alpaca", "system": "", "max_length": 48, "max_truncated_fraction": 0.5, **text}
    Executor().Do(
        {"examples": [write_examples(folder / "raw")]},
        {"tokenized_examples": [target]},
        {"text": json.dumps(section), "preset": preset},
    )
    return target


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory):
    return tokenize(tmp_path_factory.mktemp("examples"))


def test_features(tokenized):
    first = read_examples(tokenized, "train")[0].features.feature
    ids, mask = (list(first[name].int64_list.value) for name in ("token_ids", "target_mask"))
    assert len(ids) == len(mask) == first["length"].int64_list.value[0]
    # Zeros, then ones: the prompt and then the response.
    assert mask == sorted(mask)
    tokenizer = make_record_tokenizer(PRESET, {"template": "alpaca", "system": "", "max_length": 48})._tokenizer
    assert ids[0] == ids[-1] == tokenizer.end_token_id  # GPT-2's start token is its end token
    prompt_ids = [i for i, m in zip(ids, mask, strict=True) if not m]
    assert tokenizer.detokenize(prompt_ids[1:]) == first["prompt"].bytes_list.value[0].decode()
    assert first["prompt"].bytes_list.value == [b"### Instruction:\nName a colour.\n\n### Response:\n"]
    assert first["response"].bytes_list.value == [b"red"]
    assert first["category"].bytes_list.value == [b"kind"]
    assert not {"instruction", "input", "output"} & set(first)


def test_what_the_receipt_counts_with(tokenized):
    whole, cut = (example.features.feature for example in read_examples(tokenized, "train"))
    assert list(whole["tokens_cut"].int64_list.value) == [0, 0]
    prompt_cut, response_cut = cut["tokens_cut"].int64_list.value
    assert prompt_cut > 0 and response_cut == 0
    for example in (whole, cut):
        assert list(example["template_specials"].int64_list.value) == [2]  # start and end token


def test_an_end_token_in_letters_closes_the_answer_once(tokenized):
    (example,) = read_examples(tokenized, "eval")
    assert example.features.feature["response"].bytes_list.value == [b"North Sea"]


def test_counts(tokenized):
    report = json.loads((Path(tokenized.uri) / REPORT_NAME).read_text())
    assert report["train"]["examples"] == 2
    assert report["train"]["examples_empty"] == 1
    assert report["train"]["examples_truncated"] == 1
    assert report["train"]["prompt_tokens_cut"] > 0
    assert report["train"]["response_tokens_cut"] == 0
    assert report["eval"]["examples"] == 1
    for name in ("examples", "tokens", "target_tokens"):
        assert tokenized.get_int_custom_property(name) == sum(counts[name] for counts in report.values())
    written = read_examples(tokenized, "train") + read_examples(tokenized, "eval")
    assert sum(len(e.features.feature["token_ids"].int64_list.value) for e in written) == sum(
        counts["tokens"] for counts in report.values()
    )
    assert max(len(e.features.feature["token_ids"].int64_list.value) for e in written) == 48


def test_what_cleaning_changes_is_counted_with_examples(tmp_path):
    raw = tmp_path / "raw"
    rows = [("a\r\nb", "", f"x{i}\r\n") for i in range(5)] + [("\x00a", "", "x"), ("plain", "", "    indented")]
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(raw), '["train"]'
    (raw / "Split-train").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(raw / "Split-train" / "data.gz"), "GZIP") as writer:
        for row in rows:
            example = tf.train.Example()
            for name, value in zip(("instruction", "input", "output"), row, strict=True):
                example.features.feature[name].bytes_list.value.append(value.encode())
            writer.write(example.SerializeToString())
    target = standard_artifacts.Examples()
    target.uri = str(tmp_path / "tokenized")
    text = {"template": "alpaca", "system": "", "max_length": 48, "max_truncated_fraction": 0.5, "cleaning": "safe"}
    Executor().Do(
        {"examples": [artifact]}, {"tokenized_examples": [target]}, {"text": json.dumps(text), "preset": PRESET}
    )
    report = json.loads((tmp_path / "tokenized" / REPORT_NAME).read_text())["train"]
    assert report["examples_cleaned"] == target.get_int_custom_property("examples_cleaned") == 6
    found = report["cleaning"]
    assert {kind: change["examples"] for kind, change in found.items()} == {
        "line ends of other systems": 5,
        "control characters": 1,
        "blanks behind the text": 5,
    }
    assert found["line ends of other systems"]["shown"] == [["a\r\nb", "a\nb"]]
    assert found["control characters"]["shown"] == [["\x00a", "a"]]
    responses = {e.features.feature["response"].bytes_list.value[0].decode() for e in read_examples(target, "train")}
    assert "    indented" in responses


def test_lengths_are_counted(tokenized):
    lengths = json.loads((Path(tokenized.uri) / "lengths" / "train.json").read_text())
    expected = dict.fromkeys(lengths, 0)
    for example in read_examples(tokenized, "train"):
        total = len(example.features.feature["token_ids"].int64_list.value)
        response = sum(example.features.feature["target_mask"].int64_list.value)
        for part, length in (("prompt", total - response), ("response", response)):
            expected[f"{part}_{min(length // 3, 15)}"] += 1  # 48 tokens in 16 bins
    assert len(lengths) == 32
    assert lengths == expected


def test_too_much_truncation_stops_the_run(tmp_path):
    with pytest.raises(UserError, match=r"1 of 3 \(33\.3%\).*text\.max_length"):
        tokenize(tmp_path, max_truncated_fraction=0.2)


@pytest.fixture
def chat_preset(tmp_path):
    """The base, with a chat template that takes no question about a sea and writes no turn as it was."""
    folder = tmp_path / "preset"
    shutil.copytree(PRESET, folder, ignore=shutil.ignore_patterns("*.h5"))
    (folder / "hugging_face").mkdir()
    source = (
        "{% if 'sea' in messages[0].content %}{{ raise_exception('no questions about a sea') }}{% endif %}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    (folder / "hugging_face" / "chat_template.jinja").write_text(source)
    return str(folder)


def test_what_a_chat_template_refuses_is_counted_with_its_words(tmp_path, chat_preset):
    artifact = tokenize(tmp_path, chat_preset, template="auto", max_refused_fraction=0.5)
    report = json.loads((Path(artifact.uri) / REPORT_NAME).read_text())
    assert report["eval"]["examples_refused"] == 1
    assert report["eval"]["reasons"] == {"refused": {"no questions about a sea": 1}, "last_turn_only": {}}
    assert (report["train"]["examples"], report["train"]["examples_refused"]) == (2, 0)
    assert artifact.get_int_custom_property("examples_refused") == 1
    first = read_examples(artifact, "train")[0].features.feature
    assert first["prompt"].bytes_list.value == [b"user: Name a colour.<|endoftext|>\nassistant: "]
    assert first["response"].bytes_list.value == [b"red"]
    length = first["prompt_length"].int64_list.value[0]
    assert list(first["target_mask"].int64_list.value) == [0] * length + [1] * (
        first["length"].int64_list.value[0] - length
    )


def test_a_template_that_refuses_too_much_stops_the_run(tmp_path, chat_preset):
    with pytest.raises(UserError, match=r"refuses 1 of 4 \(25\.0%\): no questions about a sea \(1 times\)"):
        tokenize(tmp_path, chat_preset, template="auto")


def test_a_named_template_that_the_model_does_not_know_stops_the_run(tmp_path):
    with pytest.raises(UserError, match=r"has no `<\|im_start\|>`, `<\|im_end\|>`"):
        make_record_tokenizer(PRESET, {"template": "chatml", "system": "", "max_length": 48})
