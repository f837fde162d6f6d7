"""Exit codes of `python -m pipeline`."""

FAILED = 1
USAGE = 2
NOT_BLESSED = 3
INTERRUPTED = 130
