"""The table of tuning methods, and how a method is made from its name and options."""

from collections.abc import Mapping
from typing import Any

from components import options as option_tables
from components.methods.full import FullFineTuning
from components.methods.lora import LoRA
from components.methods.method import Method

METHODS: dict[str, type[Method]] = {"full": FullFineTuning, "lora": LoRA}


def option_names(name: str) -> list[str]:
    """Names of the options of the method `name`, sorted."""
    return option_tables.list_options(METHODS, name)


def find_option_problems(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """See `components.options.find_option_problems`."""
    return option_tables.find_option_problems(METHODS, "method", name, options)


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """Makes the method `name` with `options`.

    Raises:
        ValueError: the method or an option is unknown, or a value is out of range; all problems in one message.
    """
    return option_tables.make_entry(METHODS, "method", name, options)
