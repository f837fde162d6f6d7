"""The data that `data.path` means now. Imports no TFX."""

from typing import NamedTuple

from components import storage
from components.errors import UserError
from components.example_gen.files import DataFile, explain_refusal, hash_files, list_files, split_path
from components.example_gen.spans import find_spans, has_placeholders


class ResolvedInput(NamedTuple):
    """The data of one run.

    Attributes:
        paths: Files, folders or globs.
        span: Number of the newest span; 0 for a path without placeholders.
        files: What they mean.
    """

    paths: list[str]
    span: int
    files: list[DataFile]


def resolve_input(path: str, window: int, format_name: str) -> ResolvedInput:
    """Finds the data that a path means now.

    Args:
        path: `data.path`, with or without placeholders.
        window: How many spans.
        format_name: `data.format`.

    Raises:
        UserError: If there is no span or no file.
    """
    if has_placeholders(path):
        try:
            spans = find_spans(path, window, storage.find_files)
        except OSError as error:
            raise UserError(explain_refusal(path, error)) from error
        paths, number = [span.path for span in spans], spans[-1].number
    else:
        paths, number = [path], 0
    files = [file for found in paths for file in list_files(*split_path(found), format_name)]
    return ResolvedInput(paths, number, files)


def hash_data(path: str, files: list[DataFile], option: str = "data.path") -> str:
    """Returns the SHA-256 of data files by names and content; all of them are read.

    Args:
        path: What they were found by.
        files: See `resolve_input`.
        option: That names the path in a configuration.

    Raises:
        UserError: If one cannot be read.
    """
    try:
        return hash_files(files)
    except OSError as error:
        raise UserError(
            f"{option}: the files of {path} must be there, and readable for this account: by their content it is known "
            f"whether they have changed. Received: {error}."
        ) from error
