"""The lines of a run: one a node when it has ended, and on a terminal one for each that is running."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from components.harmless import make_harmless

# What the Trainer and the TokenScorer write: `train 40/160  loss 2.1 …`. A carriage return ends what the next one overwrites.
_STEPS = re.compile(r"(?P<what>\w+) (?P<done>\d+)/(?P<total>\d+) *(?P<text>.*)")

# Where nothing can be overwritten, in a file or a pipe, a reader still wants to know how far a long training is.
_SECONDS_BETWEEN_KEPT = 60


class RunDisplay:
    """Shows the nodes of a run; safe between threads."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        """Shows nothing yet.

        Args:
            console: Where the lines go.
            clock: Seconds.
        """
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<20}"),
            TextColumn("{task.fields[seconds]:>7} s"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
            # What libraries print goes to the log, not between these lines.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @contextlib.contextmanager
    def live(self) -> Iterator["RunDisplay"]:
        """Keeps the lines of running nodes at the end of the terminal."""
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(0.25):
                self._update_seconds()

        with self._progress:
            ticker = threading.Thread(target=tick, daemon=True)
            ticker.start()
            try:
                yield self
            finally:
                stop.set()
                ticker.join()

    def start(self, name: str) -> "NodeLine":
        """Shows that something has started."""
        task = self._progress.add_task(name, total=None, text="", seconds="0", started=time.monotonic())
        return NodeLine(self, name, task)

    def _update_seconds(self) -> None:
        for task in self._progress.tasks:
            self._progress.update(task.id, seconds=f"{time.monotonic() - task.fields['started']:.0f}")

    def print(self, text: str) -> None:
        """Prints above the running ones."""
        with self._lock:
            self._console.print(text, soft_wrap=True)

    def show(self, make: Callable[[Console], RenderableType]) -> None:
        """Prints something larger above the running ones; `make` is given the console that it is for."""
        with self._lock:
            self._console.print(make(self._console))


class NodeLine:
    """One node that is running."""

    def __init__(self, display: RunDisplay, name: str, task: TaskID):
        self._display = display
        self._name = name
        self._task = task
        self._started = time.monotonic()
        self._kept = display._clock()
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Takes what the node writes for the console: lines stay, what ends in a carriage return is overwritten.

        Without a terminal what would be overwritten stays too, but only once a minute; with one, steps are seen in the running line
        alone.
        """
        *pieces, self._rest = re.split(rb"(?<=[\r\n])", self._rest + data)
        for piece in pieces:
            text = make_harmless(piece.decode("utf-8", "replace").strip())
            self._show(text)
            if text:
                self._keep(text, is_overwritten=piece.endswith(b"\r"))

    def _keep(self, text: str, is_overwritten: bool) -> None:
        if self._display._console.is_terminal and (is_overwritten or _STEPS.fullmatch(text)):
            return
        now = self._display._clock()
        if not is_overwritten or now - self._kept >= _SECONDS_BETWEEN_KEPT:
            self._kept = now
            self._display.print(f"  {escape(self._name)}: {escape(text)}")

    def _show(self, text: str) -> None:
        progress = self._display._progress
        if found := _STEPS.fullmatch(text):
            shown = f"{found['what']} {found['done']}/{found['total']}  {found['text']}"
            progress.update(self._task, total=int(found["total"]), completed=int(found["done"]), text=shown)
        else:
            progress.update(self._task, text=text)

    def end(self, mark: str, note: str = "") -> float:
        """Replaces the running line by a last one; returns the seconds it took."""
        seconds = time.monotonic() - self._started
        self._display._progress.remove_task(self._task)
        self._display.print(f"{mark} {escape(self._name):<20} {seconds:7.1f} s  {escape(note)}".rstrip())
        return seconds
