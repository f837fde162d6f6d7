"""`python -m pipeline`."""

import os
import sys

from pipeline.cli import main


def _open_standard_streams() -> None:
    """Opens those that whoever started this process has closed, as some daemons do: else the next file that is opened is one of them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free; nodes' processes need it too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


if __name__ == "__main__":
    _open_standard_streams()
    main()
