"""Cron expressions as Kubeflow's scheduler reads them (robfig/cron 1.2): written from its rules, not from our code."""

from collections.abc import Callable
from datetime import datetime

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# Lowest and highest value of each field, and its names with the number of the first.
FIELDS = [(0, 59, [], 0), (0, 59, [], 0), (0, 23, [], 0), (1, 31, [], 0), (1, 12, MONTHS, 1), (0, 6, DAYS, 0)]


def read_kubeflow_cron(text: str) -> Callable[[datetime], bool]:
    """Raises ValueError where the scheduler refuses the expression."""
    fields = text.split()
    if len(fields) not in (5, 6):
        raise ValueError(f"Expected 5 to 6 fields, found {len(fields)}: {text}")
    fields += ["*"] * (6 - len(fields))
    (seconds, _), (minutes, _), (hours, _), (days, day_star), (months, _), (weekdays, weekday_star) = (
        _read_field(field, *bounds) for field, bounds in zip(fields, FIELDS, strict=True)
    )

    def fires(time: datetime) -> bool:
        is_day, is_weekday = time.day in days, time.isoweekday() % 7 in weekdays
        is_date = is_day and is_weekday if day_star or weekday_star else is_day or is_weekday
        return (
            is_date
            and time.second in seconds
            and time.minute in minutes
            and time.hour in hours
            and time.month in months
        )

    return fires


def _read_field(field: str, low: int, high: int, names: list[str], first: int) -> tuple[set[int], bool]:
    def number(text: str) -> int:
        return names.index(text.lower()) + first if text.lower() in names else int(text)

    values: set[int] = set()
    has_star = False
    for part in filter(None, field.split(",")):
        span, *steps = part.split("/")
        ends = span.split("-")
        if len(ends) > 2 or len(steps) > 1:
            raise ValueError(f"too many hyphens or slashes: {part}")
        if ends[0] in ("*", "?"):
            start, end, has_star = low, high, True
        else:
            start = number(ends[0])
            end = number(ends[-1]) if len(ends) == 2 or not steps else high
        step = int(steps[0]) if steps else 1
        if start < low or end > high or start > end or step < 1:
            raise ValueError(f"not a range of {low}-{high}: {part}")
        values |= set(range(start, end + 1, step))
    return values, has_star
