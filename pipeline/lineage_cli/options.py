"""What the subcommands of `lineage` share: options, the store, and how an answer is printed."""

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from components import runtime
from components.harmless import dump_json
from pipeline.cli_options import load_runner_file
from pipeline.cli_options import open_store as open_runner_store

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from rich.console import RenderableType

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
PIPELINE = click.option("--pipeline", "pipeline_name", metavar="NAME", help="Only of this pipeline.")


def open_store(runner_name: str, root: str | None) -> "MetadataStore":
    """Returns the metadata store of a runner, opened for reading."""
    return open_runner_store(load_runner_file(runner_name, root))


def find_runner_root(runner_name: str, root: str | None) -> str:
    """Returns the folder, or the address in a bucket, that a runner's places are below."""
    from components.storage import is_remote
    from configs.runner_schema import LocalRunnerConfig

    runner = load_runner_file(runner_name, root)
    found = runner.root if isinstance(runner, LocalRunnerConfig) else runner.pipeline_root
    if is_remote(found):
        announce_bucket(found)
    return found


def announce_bucket(place: str) -> None:
    """Says what takes half a minute: a bucket is read through TensorFlow's client. Local folders never need it."""
    if "tensorflow" not in sys.modules:
        click.echo(f"Loading TensorFlow, which reads {place} ...", err=True)
        runtime.load_tensorflow_silently()


def print_result(as_json: bool, value: Any, render: Callable[[], "RenderableType"]) -> None:
    """Prints an answer: `value` as JSON for programs, or what `render` makes of it for people."""
    if as_json:
        click.echo(dump_json(value))
        return
    from pipeline.console import make_console

    make_console().print(render())


def show_progress(text: str) -> contextlib.AbstractContextManager[object]:
    """Shows that something goes on, on the terminal's standard error; nothing where that is none."""
    from pipeline.console import make_console

    return make_console(stderr=True).status(text)
