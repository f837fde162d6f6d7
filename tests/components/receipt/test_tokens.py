"""The special tokens that a receipt looks for are those that the run's template writes."""

import pytest

from components.receipt.tokens import find_special_tokens
from components.text.model_tokenizer import load_tokenizer


@pytest.mark.parametrize(("template", "end"), [("chatml", "<|im_end|>"), ("alpaca", "<|endoftext|>")])
def test_the_end_of_a_turn_of_a_named_template_ends_an_answer(make_golden_folder, template, end):
    """The folder of a base model has no chat template of its own."""
    folder = make_golden_folder("qwen2")
    for name in ("chat_template.jinja", "tokenizer_config.json", "generation_config.json"):
        (folder / name).unlink(missing_ok=True)
    tokenizer = load_tokenizer(str(folder))
    text = {"template": template, "system": "", "max_length": 64, "date": "2026-12-01"}
    found = find_special_tokens(tokenizer, folder, text)
    assert found.end_ids[0] == tokenizer.token_to_id(end)
    assert set(found.end_ids) <= found.all_ids
