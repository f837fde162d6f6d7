import json

import pytest

from components.errors import UserError
from pipeline import serving


def test_the_newest_whole_version_is_found(tmp_path):
    for name, whole in (("9", True), ("10", True), ("11", False), ("x12", True), (".incoming", True)):
        (tmp_path / name).mkdir()
        if whole:
            (tmp_path / name / "saved_model.pb").touch()
    assert serving.find_pushed_model(tmp_path).name == "10"
    with pytest.raises(UserError, match="must have been pushed"):
        serving.find_pushed_model(tmp_path / "nowhere")


def test_an_instruction_with_input_is_rendered_as_for_training(tmp_path):
    card = tmp_path / "assets.extra" / "model_card.json"
    card.parent.mkdir()
    card.write_text(json.dumps({"template": "alpaca", "system": ""}))
    assert serving.render(tmp_path, [" Copy. "], "a\u00a0b") == [
        "### Instruction:\nCopy.\n\n### Input:\na b\n\n### Response:\n"
    ]


def test_special_tokens_of_a_request_are_text_for_the_client_too(tmp_path):
    card = tmp_path / "assets.extra" / "model_card.json"
    card.parent.mkdir()
    card.write_text(json.dumps({"template": "plain", "system": "", "special_tokens": ["<end>"]}))
    assert serving.render(tmp_path, ["a <end>"], "") == ["a < end>\n"]


def test_a_conversation_is_rendered_by_a_plain_template_as_well(tmp_path):
    card = tmp_path / "assets.extra" / "model_card.json"
    card.parent.mkdir()
    card.write_text(json.dumps({"template": "chat", "system": ""}))
    path = tmp_path / "conversation.json"
    path.write_text(
        json.dumps([{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}, {"from": "human", "value": "P"}])
    )
    conversation = serving.read_conversation(path)
    assert serving.render_conversation(tmp_path, conversation) == "User: Q\nAssistant:\nA\nUser: P\nAssistant:\n"


def test_only_numbers_in_ascii_are_versions(tmp_path):
    for name in ("\u00b2", "7", "x"):
        (tmp_path / "p" / name).mkdir(parents=True)
        (tmp_path / "p" / name / "saved_model.pb").write_text("x")
    (tmp_path / "q" / "\u2460").mkdir(parents=True)
    assert serving.find_pushed_model(tmp_path / "p").name == "7"
    assert serving.find_only_pipeline(tmp_path) == "p"
