"""What the HTML pages share: how a template is rendered, and files written whole."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from components.errors import UserError
from components.harmless import make_harmless
from components.storage import whole_file


def _finalize(value: Any) -> Any:
    """What is put into a page, markup of our own excepted, is only text."""
    return make_harmless(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def render(template: Path, filters: Mapping[str, Callable[..., Any]], **values: Any) -> str:
    """Returns the page as HTML text; what the data hold is escaped, and a name that is not given is an error."""
    environment = jinja2.Environment(
        # For the parts that pages share.
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
    )
    environment.filters |= filters
    return environment.get_template(template.name).render(**values)


def write_whole(path: Path, page: str, option: str = "--html") -> None:
    """Writes a page, whole or not at all.

    Args:
        path: The file.
        page: Its text.
        option: The one that names another file.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as stream:
            stream.write(page.encode())
    except OSError as error:
        raise UserError(
            f"The page must be a file in a folder that you can write to. Received: {path} ({error.strerror}). "
            f"Give another one with {option}."
        ) from error
