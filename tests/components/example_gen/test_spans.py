import glob

import pytest

from components.errors import UserError
from components.example_gen.spans import find_problem, find_spans, has_placeholders


@pytest.fixture
def make_files(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        return f"{tmp_path}/"

    return make


def find(root, path, window=1):
    return [(span.number, span.path.removeprefix(root)) for span in find_spans(root + path, window, glob.glob)]


def test_spans_are_numbers_with_or_without_zeros(make_files):
    root = make_files("span-9/a.csv", "span-010/a.csv", "span-8/a.csv", "span-x/a.csv", "other/a.csv")
    assert find(root, "span-{SPAN}/*.csv", 2) == [(9, "span-9/*.csv"), (10, "span-010/*.csv")]
    assert find(root, "span-{SPAN}", 9) == [(8, "span-8"), (9, "span-9"), (10, "span-010")]


def test_dates_in_folders_and_names(make_files):
    root = make_files(
        "2026/02/28/2026-02-28.csv",
        "2026/02/30/2026-02-30.csv",
        "2025/12/31/2025-12-31.csv",
        "2026/03/01/2026-03-02.csv",
    )
    days = 20512  # from 1970-01-01 to 2026-02-28
    path = "{YYYY}/{MM}/{DD}/{YYYY}-{MM}-{DD}.csv"
    # The 30th of February is no day, and a file that disagrees with its folder is of neither.
    assert find(root, path) == [(days, "2026/02/28/2026-02-28.csv")]
    assert find(root, path, 5) == [(days - 59, "2025/12/31/2025-12-31.csv"), (days, "2026/02/28/2026-02-28.csv")]


def test_globs_beside_placeholders(make_files):
    root = make_files("day-1-a.csv", "day-1-b.csv", "day-2-a.csv", "day-2-a.txt")
    assert find(root, "day-{SPAN}-*.csv") == [(2, "day-2-*.csv")]


def test_no_span_is_an_error_that_names_the_pattern(make_files):
    root = make_files("span-x/a.csv")
    with pytest.raises(UserError, match=r"nothing matches .*span-\*"):
        find(root, "span-{SPAN}/a.csv")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/{SPAN}/b.csv", None),
        ("a/{YYYY}-{MM}-{DD}.csv", None),
        ("a/b.csv", None),
        ("a/{SPAM}/b.csv", "{SPAM}"),
        ("a/{VERSION}/{SPAN}", "{VERSION}"),
        ("a/{YYYY}/b.csv", "together"),
        ("a/{SPAN}/{YYYY}-{MM}-{DD}", "alone"),
        ("exp [x]/{SPAN}/a.csv", "in its last part only. Received: [ before it"),
        ("a/{SPAN}*/a.csv", "Received: * before it"),
        ("a/{SPAN}-*.csv", None),
    ],
)
def test_problems(path, expected):
    problem = find_problem(path)
    assert problem is None if expected is None else expected in problem
    assert has_placeholders(path) == (path not in ("a/b.csv", "a/{SPAM}/b.csv"))


def test_two_places_of_one_span_and_numbers_without_end_are_refused(tmp_path):
    for name in ("3", "03"):
        (tmp_path / f"span-{name}").mkdir()
    with pytest.raises(UserError, match=r"each span must be there once\. Received: .*span-03 and .*span-3\. Rename"):
        find_spans(f"{tmp_path}/span-{{SPAN}}", 1, glob.glob)
    (tmp_path / "span-03").rmdir()
    (tmp_path / f"span-{2**63}").mkdir()
    with pytest.raises(UserError, match="at most 18 digits"):
        find_spans(f"{tmp_path}/span-{{SPAN}}", 1, glob.glob)
