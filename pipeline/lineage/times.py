"""Times and durations in words, as tables, pages and pictures show them."""


def humanize(time: str) -> str:
    """Returns an ISO 8601 time in UTC as a person writes it."""
    return time.replace("T", " ").replace("Z", " UTC")


def format_duration(seconds: float) -> str:
    """Returns `0.4 s`, `2 min 05 s` or `3 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
