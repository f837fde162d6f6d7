"""Tables of frozen dataclasses whose fields are the options that a YAML may give: their checks, and how one is made."""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# How keys of known services begin.
_KEY_BEGINS = ("sk_", "hf_", "ghp_", "gho_", "github_pat_", "xoxb", "AKIA", "AIza")
_KEY_LENGTH = 20


def check_environment_name(value: str) -> str:
    """Returns the name of an environment variable as it is.

    Raises:
        ValueError: It cannot be one, or looks like a secret that was put where its variable's name belongs. The message does not
            repeat it: it would stand in logs and in the metadata store.
    """
    looks_like_key = value.startswith(_KEY_BEGINS) or (
        len(value) >= _KEY_LENGTH and any(c.isdigit() for c in value) and any(c.islower() for c in value)
    )
    if looks_like_key or not _ENVIRONMENT_NAME.fullmatch(value):
        raise ValueError(
            "must be the name of an environment variable (letters, digits and _), not a key or a password itself. What was received is not "
            "shown, as it may be one. Put it into a variable, and name that"
        )
    return value


def list_options(table: Mapping[str, type], name: str) -> list[str]:
    """Names of the options of `table[name]`, sorted."""
    return sorted(field.name for field in dataclasses.fields(table[name]))


def find_option_problems(table: Mapping[str, type], kind: str, name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Checks the options of an entry without loading anything.

    Args:
        table: classes by the name that the YAML uses.
        kind: what the table holds, in the singular.
        name: the entry's name in the YAML.
        options: its options as written there.

    Returns:
        What is wrong, by option name (by `"name"` where the entry itself is unknown); empty if all is well.
    """
    if name not in table:
        known = ", ".join(table)
        return {"name": f"unknown {kind}.{nearest(name, table)} {kind.capitalize()}s: {known}. Received: {name!r}."}
    known_options = list_options(table, name)
    choices = f"Options: {', '.join(known_options)}." if known_options else "It has no options."
    problems = {
        key: f"unknown option of `{name}`.{nearest(key, known_options)} {choices}"
        for key in options
        if key not in known_options
    }
    # One option at a time, so that one bad value does not hide the next; the others keep their defaults.
    required = [f.name for f in dataclasses.fields(table[name]) if not _has_default(f)]
    missing = [key for key in required if key not in options]
    problems |= dict.fromkeys(missing, f"`{name}` needs it. {choices}")
    given = {key: value for key, value in options.items() if key in known_options}
    if not missing and (error := _find_error(table[name], given)):
        given_required = {key: options[key] for key in required}
        # What is wrong without any other option is about several of them.
        of_all = _find_error(table[name], given_required)
        found = {}
        for key in sorted(given):
            of_one = _find_error(table[name], given_required | {key: given[key]})
            about = _find_subject(of_one, known_options) or key
            # An option that another one needs is only missing because each is tried alone.
            if of_one and of_one != of_all and (about == key or about not in given):
                found[about] = of_one
        problems |= found or {_find_subject(error, known_options) or "name": error}
    return problems


def _find_subject(error: str | None, known_options: list[str]) -> str | None:
    """The option that a message begins with."""
    named = error.split("`")[1] if error and error.startswith("`") else ""
    return named if named in known_options else None


def _find_error(entry: type, options: Mapping[str, Any]) -> str | None:
    flags = [field.name for field in dataclasses.fields(entry) if field.type in (bool, "bool")]
    for name in flags:
        # In Python every text is true, "false" as well.
        if not isinstance(options.get(name, False), bool):
            return f"`{name}` must be true or false. Received: {options[name]!r}"
    try:
        entry(**options)
    except ValueError as error:
        return str(error)
    return None


def make_entry(table: Mapping[str, type], kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """Makes `table[name]` with `options`.

    Raises:
        ValueError: the entry or an option is unknown, or a value is out of range; all problems in one message.
    """
    if problems := find_option_problems(table, kind, name, options):
        raise ValueError("\n".join(f"{kind}.{key}: {problem}" for key, problem in problems.items()))
    return table[name](**options)


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns " Did you mean `x`?" for the most similar of `names`, or "" where none is similar."""
    match = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" Did you mean `{match[0]}`?" if match else ""
