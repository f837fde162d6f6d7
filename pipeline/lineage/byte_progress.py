"""A progress bar of bytes on standard error."""

import contextlib
from collections.abc import Iterator

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from pipeline.console import make_console


class ByteProgress:
    """Shows how much was done; may be told so by several threads."""

    def __init__(self, progress: Progress, title: str):
        self._progress = progress
        self._title = title
        # Until it is known how much there is to do.
        self._task = progress.add_task("Reading the store", total=None)

    def start(self, num_bytes: int) -> None:
        """So much is to be done."""
        self._progress.update(self._task, total=num_bytes, description=self._title)

    def advance(self, num_bytes: int) -> None:
        """So much more was done."""
        self._progress.advance(self._task, num_bytes)


@contextlib.contextmanager
def show_bytes(title: str) -> Iterator[ByteProgress]:
    """Yields a bar that is gone at the end; nothing is shown where standard error is no terminal."""
    console = make_console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ByteProgress(progress, title)
