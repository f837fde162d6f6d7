"""Searches for patterns of configurations and of data in what a model has written, where no search goes on for ever.

A pattern such as `^(a|aa)+$` tries each way to cut a text, which can take longer than the machine lasts, and nothing in this process can
stop Python's `re`. Another process searches, which a timer ends.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading

from components.errors import UserError

_MOST_SECONDS = 10.0
# It lives as long as its standard input is open. The timer's signal ends it, also when nobody waits for it any more, and whatever this
# process does with that signal.
_SEARCH = """
import json, re, signal, sys
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
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
        """Returns whether `re.search` finds a pattern; None if that takes too long.

        Raises:
            RuntimeError: The other process has ended for another reason.
        """
        with self._lock:
            process = self._get_process()
            try:
                answer = self._ask(process, pattern, text)
            except BaseException:  # its answer would be taken for that to the next question
                self._process = None
                process.kill()
                process.wait()
                raise
            if answer:
                return answer.strip() == "1"
            self._process = None
            if process.wait() != -signal.SIGALRM:
                raise RuntimeError(f"the process that searches for patterns has ended with {process.returncode}")
            return None

    @staticmethod
    def _ask(process: "subprocess.Popen[str]", pattern: str, text: str) -> str:
        assert process.stdin and process.stdout
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps([pattern, text, _MOST_SECONDS]) + "\n")
            process.stdin.flush()
        return process.stdout.readline()

    def _get_process(self) -> "subprocess.Popen[str]":
        # After a fork, it is the parent's; and something else may have ended it.
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
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


def _forget() -> None:
    global _searcher
    _searcher = _Searcher()  # the lock may be held by a thread that is not here


os.register_at_fork(after_in_child=_forget)


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
