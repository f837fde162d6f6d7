"""Renders the conversations with transformers' `apply_chat_template`, and writes what comes out beside this file.

Run in an environment of its own with transformers, from the root of the repository:
    PYTHONPATH=. python tests/components/text/chat_templates/write_golden.py
"""

import datetime
import hashlib
import importlib.util
import json
from pathlib import Path
from unittest import mock

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = Path(__file__).resolve().parent


def load_conversations():
    spec = importlib.util.spec_from_file_location("conversations", HERE / "conversations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clock(datetime.datetime):
    """Says that it is the day of the comparison."""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromisoformat(conversations.DATE)


def render(tokenizer, messages, tools):
    """Returns the text of all messages, and of all but the last with a generation prompt; or what the template says."""
    try:
        return [
            tokenizer.apply_chat_template(messages, tools=tools, tokenize=False),
            tokenizer.apply_chat_template(messages[:-1], tools=tools, tokenize=False, add_generation_prompt=True),
        ]
    except jinja2.TemplateError as error:
        return {"refused": error.message}
    except TypeError:
        return {"refused": "TypeError"}


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


conversations = load_conversations()
small, real = {}, {}
real_conversations = conversations.list_real()
with mock.patch.object(chat_template_utils, "datetime", Clock):
    for name, (bos, eos) in conversations.VARIABLES.items():
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"x": 0}, "x")), eos_token=eos)
        tokenizer.bos_token = bos
        tokenizer.chat_template = (HERE / f"{name}.jinja").read_text(encoding="utf-8")
        small[name] = {
            key: render(tokenizer, messages, tools) for key, (messages, tools) in conversations.list_small().items()
        }
        real[name] = [digest(render(tokenizer, messages, None)) for messages in real_conversations]
golden = {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "small": small, "real": real}
(HERE / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
