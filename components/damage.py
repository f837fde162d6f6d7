"""What is wrong with a file that this project wrote itself, and that no longer reads as it was written."""

from pydantic import ValidationError


def describe_damage(error: ValueError) -> str:
    """Returns the first problem in one line: the place and what is wrong there, or what the JSON parser says."""
    if not isinstance(error, ValidationError):
        return str(error)
    detail = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, detail['loc'])) or 'the whole'}: {detail['msg']}"
