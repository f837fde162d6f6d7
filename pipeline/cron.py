"""Cron expressions of five fields: what is wrong with one, when it fires, and how Kubeflow Pipelines wants it.

The language is what the schedulers of Kubeflow Pipelines and Vertex AI have in common: numbers, names (`MON`, `JAN`), ranges,
lists, steps of `*` or of a range, and macros such as `@weekly`. What they read differently is refused.
"""

import itertools
import re
import zoneinfo
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from components.errors import UserError
from components.options import nearest

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of the month": "1-31",
    "month": "1-12 or JAN-DEC",
    "day of the week": "0-7 (0 and 7 are Sunday) or SUN-SAT",
}
# Kubeflow's scheduler looks no further ahead.
MAX_YEARS = 5
_VALUE = r"([0-9]{1,2}|[A-Za-z]{3})"
# No step of a single value: `5/15` is every 15 minutes from 5 on for some schedulers, and 5 alone for others.
_TERM = re.compile(rf"\*(/[0-9]+)?|{_VALUE}(-{_VALUE}(/[0-9]+)?)?")
_EXAMPLE = "`0 3 * * MON` is every Monday at 03:00"


def find_cron_problem(text: str, *, after: datetime | None = None) -> str | None:
    """Returns what is wrong with a cron expression, or None.

    Args:
        text: Five fields or a macro.
        after: It must fire in the five years from then on; now, unless given.
    """
    expanded = _expand(text)
    if text.strip().startswith("@") and expanded.startswith("@"):
        return f"must be five fields or one of {', '.join(MACROS)}.{nearest(text.strip(), MACROS)} Received: {text!r}."
    fields = expanded.split()
    if len(fields) != len(FIELDS):
        seconds = " Leave out the seconds, which come first." if len(fields) == len(FIELDS) + 1 else ""
        zone = " The time zone is an option of its own." if "TZ=" in text else ""
        return f"must have five fields ({', '.join(FIELDS)}): {_EXAMPLE}.{seconds}{zone} Received: {text!r}."
    bad = [
        f"the {name} must be numbers of {values}, ranges upwards (1-5), lists (1,3), `*`, or steps (*/2, 1-9/2), not {field!r}"
        for i, ((name, values), field) in enumerate(zip(FIELDS.items(), fields, strict=True))
        if not _is_valid(i, field)
    ]
    if bad:
        return f"must have valid fields: {'; '.join(bad)}. Received: {text!r}."
    return _find_gap(text, expanded, after or datetime.now(UTC))


def find_timezone_problem(name: str) -> str | None:
    """Returns what is wrong with the name of a time zone, or None."""
    known = zoneinfo.available_timezones()
    if name in known:
        return None
    return f"must be an IANA name such as UTC or Europe/Berlin.{nearest(name, known)} Received: {name!r}."


def next_times(text: str, timezone: str, count: int, *, after: datetime | None = None) -> list[datetime]:
    """Returns the next `count` times at which an expression fires, in `timezone`.

    Clock changes are treated as Kubeflow's scheduler does: a time that is skipped does not fire, one that comes twice fires
    twice.

    Args:
        text: Five fields or a macro.
        timezone: An IANA name.
        count: How many.
        after: They come after this; now, unless given.

    Raises:
        UserError: If the expression or the time zone is not valid.
    """
    after = after or datetime.now(UTC)
    if problem := find_cron_problem(text, after=after):
        raise UserError(f"the cron expression {problem}")
    if problem := find_timezone_problem(timezone):
        raise UserError(f"the time zone {problem}")
    # With six fields the library follows the clock as said above; with five, Debian's cron.
    times = CronSim(to_kfp_cron(text), after.astimezone(zoneinfo.ZoneInfo(timezone)))
    return list(itertools.islice(times, count))


def to_five_fields(text: str) -> str:
    """Returns a valid expression without macros and with Sunday only as 0, which every scheduler reads alike."""
    minute, hour, day, month, weekday = _expand(text).split()
    if "7" in weekday and not weekday.startswith("*"):
        days = CronSim(f"* * * * {weekday}", datetime.now(UTC)).weekdays
        weekday = ",".join(str(d) for d in sorted({d % 7 for d in days if isinstance(d, int)}))
    return f"{minute} {hour} {day} {month} {weekday}"


def to_kfp_cron(text: str) -> str:
    """Returns a valid expression as Kubeflow Pipelines reads it: six fields, seconds first."""
    return f"0 {to_five_fields(text)}"


def from_kfp_cron(text: str) -> str:
    """Returns five fields for an expression that Kubeflow holds; one that fires at other seconds than 0 as it is."""
    seconds, _, rest = text.partition(" ")
    return rest if seconds == "0" and len(rest.split()) == len(FIELDS) else text


def _expand(text: str) -> str:
    return MACROS.get(text.strip().lower(), text.strip())


def _is_valid(position: int, field: str) -> bool:
    terms = field.split(",")
    if not all(_TERM.fullmatch(term) for term in terms):
        return False
    # Whether a star among others makes both day fields restrict is read differently.
    if len(terms) > 1 and any(term.startswith("*") for term in terms):
        return False
    alone = ["*"] * len(FIELDS)
    alone[position] = field
    try:
        CronSim(" ".join(alone), datetime.now(UTC))
    except CronSimError:
        return False
    return True


def _find_gap(text: str, expanded: str, after: datetime) -> str | None:
    try:
        times = [after, *itertools.islice(CronSim(expanded, after), 2)]
    except CronSimError:
        # Every field is valid, so that the day never comes.
        times = [after]
    if len(times) < 3:
        return f"must fire, and this never does: there is no such day. {_EXAMPLE}. Received: {text!r}."
    for earlier, later in itertools.pairwise(times):
        if later.year - earlier.year > MAX_YEARS:
            return (
                f"must fire at least every {MAX_YEARS} years: {_EXAMPLE}. Received: {text!r}, which does not between "
                f"{earlier:%Y-%m-%d} and {later:%Y-%m-%d}."
            )
    return None
