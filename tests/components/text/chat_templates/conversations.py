"""The conversations of the comparison with transformers: a few made up, and two hundred from real data sets."""

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

from components.example_gen.conversations import make_messages, make_tools
from components.example_gen.item import BadRecordError

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[3].parent / "shared" / "data"
# What the templates take for the model's own tokens, and the day on which they are rendered.
VARIABLES = {
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "qwen2_5": (None, "<|im_end|>"),
    "qwen3": (None, "<|im_end|>"),
    "qwen3_training": (None, "<|im_end|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
    "llama3_training": ("<|begin_of_text|>", "<|eot_id|>"),
    "llama3_2": ("<|begin_of_text|>", "<|eot_id|>"),
    "gemma": ("<bos>", "<eos>"),
    "gemma3": ("<bos>", "<eos>"),
    "phi3": ("<s>", "<|endoftext|>"),
    "phi3_5": ("<s>", "<|endoftext|>"),
    "deepseek_r1_distill": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),  # noqa: RUF001
    "cohere": ("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
}
DATE = "2025-03-09"

WEATHER = {
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SMALL: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "one turn": ([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}], []),
    "system": (
        [
            {"role": "system", "content": "Be brief.\nBe kind."},
            {"role": "user", "content": "Name a colour."},
            {"role": "assistant", "content": "Red."},
        ],
        [],
    ),
    "three turns": (
        [
            {"role": "system", "content": "You know rivers."},
            {"role": "user", "content": "Ein Fluß in 德国?"},
            {"role": "assistant", "content": "Der Rhein.\n\n- 1,233 km\n- 🏞️"},
            {"role": "user", "content": "  and\tin France?  "},
            {"role": "assistant", "content": "    the Loire\n    the Seine"},
            {"role": "user", "content": "Which is longer <b>&</b> older?"},
            {"role": "assistant", "content": 'The "Loire".'},
        ],
        [],
    ),
    "reasoning": (
        [
            {"role": "user", "content": "2 + 2?"},
            {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\n4"},
            {"role": "user", "content": "And 3?"},
            {"role": "assistant", "content": "7", "reasoning_content": "Four and three."},
        ],
        [],
    ),
    "tool": (
        [
            {"role": "user", "content": "Weather in Bern and Genève?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {"id": "abcdefghi", "function": {"name": "get_weather", "arguments": '{"city": "Genève"}'}}
                ],
            },
            {"role": "tool", "content": '{"sky": "clear"}', "name": "get_weather", "tool_call_id": "abcdefghi"},
            {"role": "assistant", "content": "It is clear."},
        ],
        [WEATHER],
    ),
    "two calls, no content": (
        [
            {"role": "system", "content": "Call tools."},
            {"role": "user", "content": "Weather in Bern and Rome?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"function": {"name": "get_weather", "arguments": {"city": "Bern"}}},
                    {"function": {"name": "get_weather", "arguments": {"city": "Rome", "days": [1, 2.5, None, True]}}},
                ],
            },
            {"role": "tool", "content": "rain"},
            {"role": "tool", "content": "sun"},
            {"role": "assistant", "content": "Rain in Bern, sun in Rome."},
        ],
        [WEATHER],
    ),
    "tools unused": ([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}], [WEATHER]),
    "two requests": (
        [
            {"role": "user", "content": "First part."},
            {"role": "user", "content": "Second part."},
            {"role": "assistant", "content": "Done."},
        ],
        [],
    ),
}


def list_small() -> dict[str, tuple[list[dict[str, Any]], list[Any] | None]]:
    """Returns messages and tools by name, as ExampleGen passes them on."""
    return {name: (make_messages(turns), make_tools(tools) or None) for name, (turns, tools) in SMALL.items()}


def list_real() -> list[list[dict[str, Any]]]:
    """Returns the messages of 220 conversations: chats, chats with calls of tools, long transcripts, and instructions."""
    chats = json.loads((DATA / "identity-sharegpt" / "dummy_conversation.json").read_text())
    found = [make_messages(chat["conversations"]) for chat in chats[::10]]
    with (DATA / "taskmaster4-chat" / "chat.jsonl").open(encoding="utf-8") as file:
        dialogues = [json.loads(line)["messages"] for line in file]
    found += list_good(dialogues[:70])[:50]
    with gzip.open(DATA / "hh-rlhf-harmless" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        transcripts = [json.loads(line)["chosen"] for line in file]
    found += [make_messages(split_transcript(text)) for text in transcripts[:2000:40]]
    tasks = json.loads((DATA / "gpteacher-toolformer" / "toolformer-similarity-0.6-dataset.json").read_text())
    for task in tasks[:2100:30]:
        request = "\n\n".join(filter(None, [task["instruction"], task["input"]]))
        found.append(
            make_messages([{"role": "user", "content": request}, {"role": "assistant", "content": task["output"]}])
        )
    return found


def list_good(conversations: list[Any]) -> list[list[dict[str, Any]]]:
    """Returns those that ExampleGen keeps."""
    good = []
    for turns in conversations:
        with contextlib.suppress(BadRecordError):
            good.append(make_messages(turns))
    return good


def split_transcript(text: str) -> list[dict[str, str]]:
    """Returns a transcript of `Human:` and `Assistant:` as turns, without empty ones."""
    turns = []
    for part in text.split("\n\nHuman: ")[1:]:
        request, *answers = part.split("\n\nAssistant: ")
        turns.append({"role": "user", "content": request})
        turns += [{"role": "assistant", "content": answer} for answer in answers]
    return [turn for turn in turns if turn["content"].strip()]
