"""A model with a chat template, from its publisher's folder to the exported model: requests, conversations, and what ends them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.errors import UserError
from components.text.named_chat_templates import make_named_template
from components.text.tokenization import RecordTokenizer
from components.tokenizer.executor import make_record_tokenizer
from components.trainer import export, model_card
from components.trainer.decoding import count_head
from components.trainer.hugging_face import export_hugging_face
from components.trainer.model import load_model, save_preset
from components.trainer.served_template import find_served_template
from components.trainer.signatures import ServingModule
from components.trainer.verify_export import verify_export
from pipeline import serving

HERE = Path(__file__).resolve().parents[1]
GENERATION = {"max_new_tokens": 5}
MESSAGES = [
    {"role": "user", "content": "Hi <|im_end|>"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "And you? <|eot_id|>"},
    {"role": "assistant", "content": "Fine."},
]
# Name: model, tokenizer, template, what is added to the text of the turn's end, the prompt's beginning.
MODELS = {"qwen3": ("qwen3", "qwen", "<|im_end|>"), "llama3_2": ("llama3", "llama3", "<|eot_id|>")}


def make_folder(folder, model, tokenizer, template):
    golden = HERE / "models" / "golden"
    folder.mkdir()
    for path in [*(golden / model).glob("*"), *(golden / "tokenizers" / tokenizer).glob("*")]:
        shutil.copy(path, folder)
    shutil.copy(HERE / "text" / "chat_templates" / f"{template}.jinja", folder / "chat_template.jinja")
    # The models have random weights, and write what has no token in these vocabularies.
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    rules = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = rules["model"]["vocab"]
    vocabulary |= {token["content"]: token["id"] for token in rules["added_tokens"]}
    known = set(vocabulary.values())
    vocabulary |= {f"unused{i}": i for i in range(rows) if i not in known}
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    return folder


@pytest.fixture(scope="module", params=MODELS)
def chat(request, tmp_path_factory):
    """(folder, preset saved again, model loaded from that, text section, exported folder, signatures, end token)."""
    model, tokenizer, end = MODELS[request.param]
    root = tmp_path_factory.mktemp("chat")
    folder = make_folder(root / "folder", model, tokenizer, request.param)
    save_preset(load_model(str(folder)), str(root / "preset"))
    loaded = load_model(str(root / "preset"))
    positions = getattr(loaded.backbone, "max_sequence_length", None) or 256
    text = {"template": "auto", "system": "", "max_length": min(positions, 256), "date": "2025-03-09"}
    export.export_model(loaded, str(root / "export"), text, GENERATION, preset="tiny")
    signatures = tf.saved_model.load(str(root / "export")).signatures
    return folder, root / "preset", loaded, text, root / "export", signatures, end


def make_record(messages):
    return {"messages": json.dumps(messages)}


def test_the_saved_preset_tokenizes_as_the_publishers_folder(chat):
    folder, preset, _, text, _, _, _ = chat
    results = [make_record_tokenizer(str(path), text)(make_record(MESSAGES)) for path in (folder, preset)]
    assert results[0] == results[1]
    assert results[0].neutralized == 1
    assert results[0].token_ids[-1] == find_served_template(chat[2], text).stop_ids[0]


def test_a_request_is_answered_as_its_rendered_prompt(chat):
    folder, _, loaded, text, _, signatures, _ = chat
    template = find_served_template(loaded, text)
    assert template.problem == ""
    requests = [" Say\u00a0hi.\r\n", "a <|im_end|> b <|eot_id|>", "é 🙂\n\n  x"]
    tokenize = make_record_tokenizer(str(folder), text)
    prompts = [tokenize({"instruction": request, "output": "x"}).prompt for request in requests]
    served = signatures["serving_default"](prompt=tf.constant(requests))["completion"].numpy().tolist()
    assert served == signatures["complete"](prompt=tf.constant(prompts))["completion"].numpy().tolist()
    # It is no accident: prompts without what stands around the requests are answered otherwise.
    bare = signatures["complete"](prompt=tf.constant(requests))["completion"].numpy().tolist()
    assert served != bare


def test_an_example_is_completed_from_the_prompt_of_its_last_answer(chat):
    folder, _, _, text, _, signatures, _ = chat
    # A template by which all answers are targets: the first target is not where the last answer begins.
    result = make_record_tokenizer(str(folder), text | {"template": "auto"})(make_record(MESSAGES))
    example = tf.train.Example()
    example.features.feature["token_ids"].int64_list.value.extend(result.token_ids)
    example.features.feature["target_mask"].int64_list.value.extend([0] + [1] * (len(result.token_ids) - 1))
    example.features.feature["prompt_length"].int64_list.value.append(result.num_prompt_tokens)
    evaluated = signatures["evaluate"](examples=tf.constant([example.SerializeToString()]))
    completed = signatures["complete"](prompt=tf.constant([result.prompt]))
    assert evaluated["completion"].numpy().tolist() == completed["completion"].numpy().tolist()


def test_a_prompt_that_is_too_long_is_cut_alike_wherever_it_is_completed(chat):
    """What the gate measures is what is served: the template's beginning stays in front of the request's end."""
    folder, _, _, text, _, signatures, _ = chat
    requests = [f"{number} " + "word and word, " * 200 + "?" for number in range(4)]
    tokenize = make_record_tokenizer(str(folder), text | {"max_length": 10_000})
    results = [tokenize({"instruction": request, "output": "x"}) for request in requests]
    examples = []
    for result in results:
        example = tf.train.Example()
        example.features.feature["token_ids"].int64_list.value.extend(result.token_ids)
        example.features.feature["target_mask"].int64_list.value.extend([0] * len(result.token_ids))
        example.features.feature["prompt_length"].int64_list.value.append(result.num_prompt_tokens)
        examples.append(example.SerializeToString())
    served = signatures["serving_default"](prompt=tf.constant(requests))["completion"].numpy().tolist()
    prompts = tf.constant([result.prompt for result in results])
    assert signatures["complete"](prompt=prompts)["completion"].numpy().tolist() == served
    assert signatures["evaluate"](examples=tf.constant(examples))["completion"].numpy().tolist() == served


@pytest.mark.parametrize("opening", ["<think>\n\n</think>\n\n", " ", ""])
def test_an_answer_is_what_follows_the_templates_opening(chat, opening):
    """As the reference is: Qwen 3 trains an empty block of reasoning before every answer."""
    _, _, loaded, text, _, _, _ = chat
    module = ServingModule(loaded, text, GENERATION)
    module.template = replace(module.template, opening=opening)
    tokenizer = loaded.preprocessor.tokenizer
    written = [tokenizer(f"{opening}Paris.").tolist(), tokenizer(f"No. {opening}").tolist()]
    module._complete_tokens = lambda prompts: tf.ragged.constant(written, dtype=tf.int32, row_splits_dtype=tf.int64)
    answers, tokens = module._answer(None)
    assert [answer.decode() for answer in answers.numpy()] == ["Paris.", f"No. {opening}"]
    assert tokens.to_list() == written


def test_the_card_says_what_a_template_writes_before_every_answer(chat):
    _, _, loaded, text, exported, _, end = chat
    opening = find_served_template(loaded, text).opening
    assert opening == ("<think>\n\n</think>\n\n" if end == "<|im_end|>" else "")
    assert model_card.read_card(str(exported))["opening"] == opening


@pytest.mark.parametrize(("max_new_tokens", "kept"), [(8, 64), (200, 28), (254, 1)])
def test_the_templates_beginning_leaves_room_for_the_request(chat, max_new_tokens, kept):
    _, _, loaded, text, _, _, _ = chat
    text = text | {"system": "Be brief. " * 60, "max_length": 256}
    template = find_served_template(loaded, text)
    assert count_head(loaded, text, {"max_new_tokens": max_new_tokens}, template) == kept


def test_no_start_token_is_doubled(chat):
    folder, _, loaded, text, _, signatures, _ = chat
    tokenizer = loaded.preprocessor.tokenizer
    start = getattr(tokenizer, "start_token_id", None)
    result = make_record_tokenizer(str(folder), text)(make_record(MESSAGES))
    if start is not None and result.token_ids[0] == start:
        assert start not in result.token_ids[1:]
        # The text of the prompt has it, and no second one is put before it: losses are those of the example's own tokens.
    example = tf.train.Example()
    example.features.feature["token_ids"].int64_list.value.extend(result.token_ids)
    mask = [int(i >= result.num_prompt_tokens) for i in range(len(result.token_ids))]
    example.features.feature["target_mask"].int64_list.value.extend(mask)
    scored = signatures["score"](examples=tf.constant([example.SerializeToString()]))
    answer = tokenizer.detokenize(result.token_ids[result.num_prompt_tokens : -1])
    again = signatures["score_text"](
        prompt=tf.constant([result.prompt]), continuation=tf.constant([answer]), end=tf.constant(True)
    )
    assert again["token_count"].numpy() == scored["token_count"].numpy() == sum(mask)
    np.testing.assert_allclose(again["nll_sum"].numpy(), scored["nll_sum"].numpy(), rtol=1e-4)


def test_every_end_token_ends_an_answer(chat):
    _, _, loaded, text, _, _, end = chat
    tokenizer = loaded.preprocessor.tokenizer
    stop_ids = find_served_template(loaded, text).stop_ids
    assert stop_ids[0] == int(tokenizer(end)[0])
    assert int(tokenizer.end_token_id) in stop_ids


def test_a_client_renders_conversations(chat, tmp_path):
    folder, _, _, text, exported, _, _ = chat
    result = make_record_tokenizer(str(folder), text)(make_record(MESSAGES))
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps({"messages": MESSAGES[:-1]}))
    assert serving.render_conversation(exported, serving.read_conversation(path)) == result.prompt
    (prompt,) = serving.render(exported, ["Say hi."], "x")
    assert (
        prompt
        == make_record_tokenizer(str(folder), text)({"instruction": "Say hi.", "input": "x", "output": "y"}).prompt
    )
    path.write_text(json.dumps(MESSAGES))
    with pytest.raises(UserError, match="must end with a turn that asks"):
        serving.read_conversation(path)
    path.write_text("{")
    with pytest.raises(UserError, match="must hold a conversation as JSON"):
        serving.read_conversation(path)


def test_the_exported_folder_holds_template_and_tokenizer(chat):
    folder, _, _, _, exported, _, _ = chat
    kept = exported / "assets.extra" / "hugging_face"
    for name in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"):
        assert (kept / name).read_bytes() == (folder / name).read_bytes()
    card = json.loads((exported / model_card.MODEL_CARD).read_text(encoding="utf-8"))
    assert card["template"] == "auto"
    assert card["chat_template"]["date"] == "2025-03-09"
    assert card["no_serving_default"] is None


def test_verify_accepts_it(chat):
    _, _, loaded, text, exported, _, _ = chat
    verify_export(str(exported), loaded, [], ["hello"], text, GENERATION)


def test_a_template_that_looks_into_requests_has_no_serving_default(tmp_path):
    folder = make_folder(tmp_path / "folder", "qwen3", "qwen", "qwen3")
    source = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(
        source.replace("message.role + '\\n' + content", "message.role + '\\n' + content | replace('think', '')")
    )
    model = load_model(str(folder))
    text = {"template": "auto", "system": "", "max_length": 64}
    export.export_model(model, str(tmp_path / "export"), text, GENERATION)
    signatures = tf.saved_model.load(str(tmp_path / "export")).signatures
    assert set(signatures) == {"complete", "score", "evaluate", "generate", "score_text"}
    card = json.loads((tmp_path / "export" / model_card.MODEL_CARD).read_text(encoding="utf-8"))
    assert "it changes the request" in card["no_serving_default"]
    verify_export(str(tmp_path / "export"), model, [], [], text, GENERATION)


def test_a_named_template_is_kept_too(tmp_path):
    folder = make_folder(tmp_path / "folder", "qwen3", "qwen", "qwen3")
    (folder / "chat_template.jinja").unlink()
    model = load_model(str(folder))
    text = {"template": "chatml", "system": "S", "max_length": 64}
    export.export_model(model, str(tmp_path / "export"), text, GENERATION)
    assert (tmp_path / "export" / "assets.extra" / "hugging_face" / "chat_template.jinja").is_file()
    (prompt,) = serving.render(tmp_path / "export", ["Hi."])
    expected = RecordTokenizer(model.preprocessor.tokenizer, "chatml", "S", 64)(
        {"instruction": "Hi.", "output": "x"}
    ).prompt
    assert prompt == expected
    with pytest.raises(UserError, match="`llama3` writes special tokens"):
        find_served_template(model, text | {"template": "llama3"})


def test_a_named_template_takes_the_publishers_place_in_the_folder_for_transformers(chat, tmp_path):
    _, preset, loaded, text, _, _, end = chat
    name = "chatml" if end == "<|im_end|>" else "llama3"
    export_hugging_face(loaded, str(preset), str(tmp_path / "own"), text=text)
    export_hugging_face(loaded, str(preset), str(tmp_path / "named"), text=text | {"template": name})
    own, named = ((tmp_path / part / "chat_template.jinja").read_text(encoding="utf-8") for part in ("own", "named"))
    assert own == (preset / "hugging_face" / "chat_template.jinja").read_text(encoding="utf-8")
    assert named == make_named_template(name, text["date"]).sources["default"] != own
    ends = json.loads((tmp_path / "named" / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    assert int(loaded.preprocessor.tokenizer(end)[0]) in (ends if isinstance(ends, list) else [ends])
