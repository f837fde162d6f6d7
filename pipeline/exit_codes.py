"""Exit codes of `python -m pipeline`."""

FAILED = 1
USAGE = 2
NOT_BLESSED = 3
NOT_AS_RECORDED = 4
INTERRUPTED = 130
