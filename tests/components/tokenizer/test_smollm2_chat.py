"""Real conversations with a real model's template and tokenizer."""

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import pytest

from components.text.conversation import dump_conversation
from components.tokenizer.executor import make_record_tokenizer

FOLDER = os.environ.get("SMOLLM2_FOLDER", "")
TEMPLATES = Path(__file__).resolve().parents[1] / "text" / "chat_templates"


@pytest.fixture(scope="module")
def conversations():
    spec = importlib.util.spec_from_file_location("conversations", TEMPLATES / "conversations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(
    not FOLDER, reason="needs SmolLM2-135M-Instruct in Hugging Face's layout: set SMOLLM2_FOLDER to its folder"
)
def test_prompts_and_ids_are_those_of_transformers(conversations):
    from tokenizers import Tokenizer

    own = Tokenizer.from_file(f"{FOLDER}/tokenizer.json")
    start, end = (own.token_to_id(token) for token in ("<|im_start|>", "<|im_end|>"))
    golden = json.loads((TEMPLATES / "golden.json").read_text(encoding="utf-8"))["real"]["smollm2"]
    tokenize = make_record_tokenizer(FOLDER, {"template": "auto", "system": "", "max_length": 100_000})
    compared = shown = 0
    for messages, expected in zip(conversations.list_real(), golden, strict=True):
        if any("tool_calls" in message for message in messages):
            continue  # this template does not show them
        shown += 1
        result = tokenize({"messages": dump_conversation(messages)})
        whole = result.prompt + own.decode(result.token_ids[result.num_prompt_tokens :], skip_special_tokens=False)
        assert result.token_ids == own.encode(whole, add_special_tokens=False).ids
        assert result.prompt.endswith("<|im_end|>\n<|im_start|>assistant\n")
        # Every answer is trained with its end token, and nothing else is.
        answers = sum(message["role"] == "assistant" for message in messages)
        trained = [i for i, is_target in zip(result.token_ids, result.target_mask, strict=True) if is_target]
        assert trained.count(end) == answers
        assert start not in trained
        made = [whole + "\n", result.prompt]
        compared += hashlib.sha256(json.dumps(made).encode()).hexdigest()[:12] == expected
    # Cleaning changes two of them: blanks at the ends of lines go.
    assert (shown, compared) == (172, 170)
