"""Which folders this machine can write a run's files to."""

import os
import re

_PATTERN_CHARACTERS = "*?[]"
_VARIABLE = re.compile(r"\$\w|\$\{|%\w+%")


def find_shell_word(path: str) -> str | None:
    """Returns what is wrong with a path that begins with what a shell would have replaced; None if it does not.

    Else a folder named `~` would be made, which is then removed as if it were that of the account.
    """
    if path.startswith("~"):
        return f"must be a path without `~`, which only shells read: give the whole path, such as {os.path.expanduser('~')!r}."
    if _VARIABLE.match(path):
        return f"must be a path without variables, which only shells read: give the whole path. Received: {path!r}."
    return None


def find_folder_problem(root: str) -> str | None:
    """Returns why what a run writes cannot be below a folder of this machine, which need not be there yet; None if it can."""
    if not root or "\0" in root:
        return "must name a folder."
    if "://" in root:
        return "must be a folder of this machine, not an address: runners of kind vertex and kubeflow have one in a bucket."
    if problem := find_shell_word(root):
        return problem
    path = os.path.realpath(root)
    if any(character in path for character in _PATTERN_CHARACTERS):
        return (
            f"must be a folder whose whole path has none of {' '.join(_PATTERN_CHARACTERS)}, which stand for other names where files are "
            f"looked for. The path is {path!r}. Give another folder (--root FOLDER), or rename that one."
        )
    parts = path.split("/")
    above = ("/".join(parts[: i + 1]) for i in range(1, len(parts)))
    if file := next((place for place in above if os.path.isfile(place)), ""):
        return f"must be a folder, or be to become one. {file} is a file."
    return None
