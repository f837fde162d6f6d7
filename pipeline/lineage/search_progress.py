"""Shows how far a search through files has got, on standard error."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def show_search() -> Iterator[Callable[[int, int], None]]:
    """Yields a function that is told how many bytes of how many are read; nothing is shown before its first call."""
    with contextlib.ExitStack() as stack:
        shown: list[Callable[[int, int], None]] = []

        def show(done: int, total: int) -> None:
            if not shown:
                shown.append(_start(stack))
            shown[0](done, total)

        yield show


def _start(stack: contextlib.ExitStack) -> Callable[[int, int], None]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Searching the data"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    progress = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
    task = progress.add_task("", total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)
