"""Searches for patterns of configurations and of data in what a model has written, where no search goes on for ever.

A pattern such as `^(a|aa)+$` tries each way to cut a text, which can take longer than the machine lasts, and nothing in this process can
stop Python's `re`. Another process searches, which a timer ends.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading

from components.errors import UserError

_MOST_SECONDS = 10.0
# It lives as long as its standard input is open. The timer's signal ends it, also when nobody waits for it any more.
_SEARCH = """
import json, re, signal, sys
for line in sys.stdin:
    pattern, text, seconds = json.loads(line)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    found = re.search(pattern, text) is not None
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(int(found), flush=True)
"""


class _Searcher:
    """The other process; made when it is first needed, and again after it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def search(self, pattern: str, text: str) -> bool | None:
        """Returns whether `re.search` finds a pattern; None if that takes too long."""
        with self._lock:
            process = self._get_process()
            assert process.stdin and process.stdout
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps([pattern, text, _MOST_SECONDS]) + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                process.wait()
                self._process = None
                return None
            return answer.strip() == "1"

    def _get_process(self) -> "subprocess.Popen[str]":
        if self._process is None or self._owner != os.getpid():  # after a fork, it is the parent's
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _SEARCH],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                start_new_session=True,
            )
            self._owner = os.getpid()
        return self._process


_searcher = _Searcher()


def check_pattern(pattern: str) -> None:
    """Checks a pattern.

    Raises:
        ValueError: It is no regular expression.
    """
    try:
        re.compile(pattern)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"`pattern` must be a regular expression ({error}). Received: {pattern!r}") from error


def is_found(pattern: str, text: str) -> bool:
    """Whether `re.search` finds a pattern in a text.

    Raises:
        ValueError: It is no regular expression.
        UserError: The search does not end within seconds.
    """
    check_pattern(pattern)
    found = _searcher.search(pattern, text)
    if found is None:
        raise UserError(
            f"a pattern must be found, or not, within {_MOST_SECONDS:g} seconds. Received {pattern!r}, which takes longer on a text of "
            f"{len(text):,} characters that begins with {text[:60]!r}. Write it without a repetition of what repeats itself."
        )
    return found
