"""Cron expressions: which are taken, when they fire, and that Kubeflow's scheduler means the same by them."""

from datetime import UTC, datetime, timedelta

import pytest

from components.errors import UserError
from pipeline.cron import find_cron_problem, find_timezone_problem, from_kfp_cron, next_times, to_kfp_cron

# A Friday.
AFTER = datetime(2027, 1, 1, tzinfo=UTC)
VALID = [
    "0 3 * * 1",
    "*/15 * * * *",
    "0 0-6/2 * * *",
    "5,35 9-17 * * MON-FRI",
    "0 0 1 jan,JUL *",
    "0 0 * * 7",
    "0 0 * * 5-7",
    "0 0 * * 1-7/2",
    "0 12 13 * FRI",
    "0 12 1-7 * */6",
    "0 12 */10 * MON",
    "30 23 31 * *",
    "0 0 29 2 *",
    "@hourly",
    "@daily",
    "@midnight",
    "@weekly",
    "@monthly",
    "@yearly",
    "@Annually",
    "  0 3 * *  1 ",
]


@pytest.mark.parametrize("text", VALID)
def test_a_valid_expression_fires_when_kubeflow_would(text, read_kubeflow_cron):
    assert find_cron_problem(text, after=AFTER) is None
    times = next_times(text, "UTC", 3, after=AFTER)
    fires = read_kubeflow_cron(to_kfp_cron(text))
    # Every minute up to the third, or of the first sixty days where that is years away.
    minutes = min(int((times[-1] - AFTER) / timedelta(minutes=1)), 60 * 24 * 60)
    moments = [AFTER + timedelta(minutes=i) for i in range(1, minutes + 1)]
    assert [m for m in moments if fires(m)] == [t for t in times if t <= moments[-1]]
    assert all(fires(t) for t in times)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("@weekly", "0 0 0 * * 0"),
        ("0 0 * * 7", "0 0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 0 * * 0,5,6"),
        ("0 0 * * MON-FRI", "0 0 0 * * MON-FRI"),
    ],
)
def test_kubeflow_wants_seconds_and_sunday_as_0(text, expected):
    assert to_kfp_cron(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0 0 3 * * 1", "0 3 * * 1"), ("30 0 3 * * 1", "30 0 3 * * 1"), ("0 3 * * 1", "0 3 * * 1"), ("@daily", "@daily")],
)
def test_what_kubeflow_holds_is_read_back(text, expected):
    assert from_kfp_cron(text) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["must have five fields", "`0 3 * * MON` is every Monday at 03:00", "Received: ''"]),
        ("0 3 * *", ["must have five fields"]),
        ("0 0 3 * * 1", ["must have five fields", "Leave out the seconds"]),
        ("TZ=Europe/Berlin 0 3 * * 1", ["The time zone is an option of its own"]),
        ("@weakly", ["one of @hourly", "Did you mean `@weekly`?", "Received: '@weakly'"]),
        ("@reboot", ["one of @hourly"]),
        ("@every 1h", ["one of @hourly"]),
        ("60 24 * * *", ["the minute must be numbers of 0-59", "not '60'", "the hour must be", "not '24'"]),
        ("0 0 0 * *", ["the day of the month must be numbers of 1-31", "not '0'"]),
        ("0 0 * 13 *", ["the month must be numbers of 1-12 or JAN-DEC"]),
        ("0 0 * * 8", ["the day of the week must be"]),
        ("0 0 * * FRI-MON", ["ranges upwards", "not 'FRI-MON'"]),
        ("5/15 * * * *", ["steps (*/2, 1-9/2)", "not '5/15'"]),
        ("*/0 * * * *", ["not '*/0'"]),
        ("0 0 1,* * MON", ["not '1,*'"]),
        ("0 0 ? * MON", ["not '?'"]),
        ("0 0 L * *", ["not 'L'"]),
        ("0 0 * * 5L", ["not '5L'"]),
        ("0 0 * * MON#2", ["not 'MON#2'"]),
        ("٣ 0 * * *", ["the minute must be"]),
        ("0 0 30 2 *", ["must fire, and this never does: there is no such day"]),
        ("0 0 31 4,6,9,11 */2", ["must fire, and this never does"]),
        # A 29 February that is a Sunday.
        ("0 0 29 2 */7", ["must fire at least every 5 years", "which does not between 2032-02-29 and 2060-02-29"]),
    ],
)
def test_what_is_wrong_is_said(text, parts):
    problem = find_cron_problem(text, after=datetime(2027, 3, 1, tzinfo=UTC))
    assert problem is not None
    assert [part for part in parts if part not in problem] == []


def test_times_are_those_of_the_zone():
    times = next_times("0 3 * * MON", "Europe/Berlin", 2, after=AFTER)
    assert [t.isoformat() for t in times] == ["2027-01-04T03:00:00+01:00", "2027-01-11T03:00:00+01:00"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        # 02:30 is skipped on the 28th, and comes twice on the 31st.
        (datetime(2027, 3, 27, 12, tzinfo=UTC), ["2027-03-29T02:30:00+02:00", "2027-03-30T02:30:00+02:00"]),
        (datetime(2027, 10, 30, 12, tzinfo=UTC), ["2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00+01:00"]),
    ],
)
def test_clock_changes(after, expected):
    assert [t.isoformat() for t in next_times("30 2 * * *", "Europe/Berlin", 2, after=after)] == expected


def test_time_zones_have_iana_names():
    assert find_timezone_problem("Europe/Berlin") is None
    problem = find_timezone_problem("Europe/Berlim")
    assert problem == (
        "must be an IANA name such as UTC or Europe/Berlin. Did you mean `Europe/Berlin`? Received: 'Europe/Berlim'."
    )
    for name in ("../../etc/passwd", "/etc/localtime", ""):
        assert "must be an IANA name" in (find_timezone_problem(name) or "")


@pytest.mark.parametrize(
    ("text", "zone", "message"),
    [
        ("0 0 30 2 *", "UTC", "the cron expression must fire"),
        ("0 0 * * *", "Mars", "the time zone must be an IANA name"),
    ],
)
def test_no_times_of_what_is_wrong(text, zone, message):
    with pytest.raises(UserError, match=message):
        next_times(text, zone, 1)
