"""Searches for patterns of configurations and of data in what a model has written: both may be such that a search never ends."""

import re

import regex

from components.errors import UserError

_MOST_SECONDS = 10.0


def check_pattern(pattern: str) -> None:
    """Checks that Python's `re` takes a pattern; `regex`, which can be stopped and `re` cannot, finds the same with these.

    Raises:
        ValueError: It is no regular expression.
    """
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"`pattern` must be a regular expression ({error}). Received: {pattern!r}") from error


def is_found(pattern: str, text: str) -> bool:
    """Whether a pattern is found anywhere in a text.

    Raises:
        ValueError: It is no regular expression.
        UserError: The search does not end within seconds: a nested repetition such as `^(a|aa)+$` tries each way to cut a text.
    """
    check_pattern(pattern)
    try:
        return regex.search(pattern, text, timeout=_MOST_SECONDS) is not None
    except TimeoutError:
        raise UserError(
            f"a pattern must be found, or not, within {_MOST_SECONDS:g} seconds. Received {pattern!r}, which takes longer on a text of "
            f"{len(text):,} characters that begins with {text[:60]!r}. Write it without a repetition of what repeats itself."
        ) from None
