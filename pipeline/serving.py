"""Finds and calls pushed models. Needs TensorFlow, but neither Keras nor KerasHub."""

import json
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.example_gen.conversations import make_messages, make_tools
from components.example_gen.item import BadRecordError
from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.cleaning import clean_text, get_level
from components.text.conversation import Conversation, with_system
from components.text.record_cleaning import Cleaner, join_request, join_seams
from components.text.template_choice import load_template
from components.text.templates import PromptTemplate


def find_pushed_model(serving_root: Path) -> Path:
    """Returns the newest version below a pipeline's serving folder.

    Raises:
        UserError: If nothing has been pushed there.
    """
    versions = [p for p in serving_root.glob("*") if _is_version(p.name) and (p / "saved_model.pb").is_file()]
    if not versions:
        raise UserError(
            f"a model must have been pushed to {serving_root}; there is none. Run the pipeline first (`make run`); "
            "its summary says whether the model was blessed."
        )
    return max(versions, key=lambda p: int(p.name))


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name[:20]) < 2**63


def find_only_pipeline(serving_root: Path) -> str:
    """Returns the name of the pipeline that has pushed a model.

    Raises:
        UserError: If there are several, or none.
    """
    names = sorted(p.name for p in serving_root.glob("*") if any(_is_version(v.name) for v in p.glob("*")))
    if len(names) == 1:
        return names[0]
    listing = (
        f"Pipelines with pushed models: {', '.join(names)}." if names else "None has pushed one yet: run one first."
    )
    raise UserError(f"--pipeline must say whose model answers. {listing}")


def load_model(folder: Path) -> Any:
    """Returns the SavedModel in `folder`.

    Raises:
        UserError: If it holds none.
    """
    if not (folder / "saved_model.pb").is_file():
        raise UserError(f"must be the folder of an exported model (with saved_model.pb). Received: {folder}.")
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  Its operations are in the model.

    return tf.saved_model.load(str(folder))


def render(folder: Path, instructions: list[str], context: str = "") -> list[str]:
    """Returns prompts for the signature `complete`: the model's own template around instructions and their input."""
    card, template = _read_template(folder)
    if isinstance(template, ChatTemplate):
        level = get_level(card)
        requests = [join_request(clean_text(text, level), clean_text(context, level)) for text in instructions]
        conversations = [Conversation(messages=[{"role": "user", "content": request}]) for request in requests]
        return [render_conversation(folder, conversation) for conversation in conversations]
    cleaner = _make_cleaner(card)
    system = clean_text(card["system"], get_level(card))
    return [template.render(cleaner(text), cleaner(context), system) for text in instructions]


def render_conversation(folder: Path, conversation: Conversation) -> str:
    """Returns the prompt of a conversation for the signature `complete`: the turns, and what asks for an answer.

    Args:
        folder: The exported model, which holds its template.
        conversation: Its turns so far; the last one is not the assistant's.

    Raises:
        UserError: If the template does not render it.
    """
    card, template = _read_template(folder)
    cleaner = _make_cleaner(card)
    raw, conversation = conversation, cleaner.clean(conversation)
    system = clean_text(card["system"], get_level(card))
    if isinstance(template, PromptTemplate) and not template.response_prefix:
        conversation = join_seams(raw, conversation, get_level(card))
    messages = conversation.seen
    if isinstance(template, PromptTemplate):
        return template.render_turns(
            [*messages, {"role": "assistant", "content": ""}], system, conversation.tools
        ).prompt
    messages = with_system(messages, cleaner.neutralize(system))
    try:
        return template.render(messages, add_generation_prompt=True, tools=conversation.tools)
    except RefusedConversationError as error:
        raise UserError(f"the model's chat template must take the conversation. It says: {error}.") from error


def read_conversation(path: Path) -> Conversation:
    """Returns the conversation in a JSON file: a list of messages, or an object with `messages` and perhaps `tools`.

    Raises:
        UserError: If there is none, or its last turn is the assistant's.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        turns, tools = (value, None) if isinstance(value, list) else (value["messages"], value.get("tools"))
        # An answer to come closes it, as in training data.
        messages = make_messages([*turns, {"role": "assistant", "content": "."}])[:-1]
        tools = make_tools(tools) or None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, BadRecordError) as error:
        raise UserError(
            f"{path} must hold a conversation as JSON: a list of messages, or an object with `messages` and `tools`. Received: "
            f"{error}."
        ) from error
    if messages[-1]["role"] == "assistant":
        raise UserError(
            f"the conversation in {path} must end with a turn that asks for an answer, not with one of the assistant."
        )
    return Conversation(messages=messages, tools=tools)


def _read_template(folder: Path) -> tuple[dict[str, Any], PromptTemplate | ChatTemplate]:
    card = json.loads((folder / "assets.extra" / "model_card.json").read_text(encoding="utf-8"))
    chat = card.get("chat_template") or {}
    text = {"template": card["template"], **({"date": chat["date"]} if chat else {})}
    template = load_template(text, folder / "assets.extra")
    return card, template.with_variables(chat["variables"]) if isinstance(template, ChatTemplate) else template


def _make_cleaner(card: dict[str, Any]) -> Cleaner:
    return Cleaner(card.get("special_tokens", []), [], get_level(card))


def generate(model: Any, prompts: list[str], signature: str = "serving_default") -> list[str]:
    """Returns the completion of each prompt.

    Args:
        model: See `load_model`.
        prompts: Plain requests; for the signature `complete`, prompts that are rendered already.
        signature: `serving_default` or `complete`.
    """
    import tensorflow as tf

    outputs = model.signatures[signature](prompt=tf.constant(prompts))
    return [text.decode("utf-8", "replace") for text in outputs["completion"].numpy()]
