import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from data.sample import generate, tasks

SAMPLE = Path(generate.__file__).parent / "instructions.jsonl"
DIRTY = Path(generate.__file__).parent / "dirty.jsonl"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("flags", "committed"), [([], SAMPLE), (["--dirty"], DIRTY)])
def test_command_reproduces_committed_file(tmp_path: Path, flags: list[str], committed: Path) -> None:
    output = tmp_path / "folder" / "file.jsonl"
    # -E -S: neither the environment nor installed packages may have a part in the result.
    command = [sys.executable, "-E", "-S", "-m", "data.sample.generate", *flags, "--output", output]
    subprocess.run(command, cwd=Path(generate.__file__).parents[2], check=True)
    assert output.read_bytes() == committed.read_bytes()
    assert [path.name for path in output.parent.iterdir()] == ["file.jsonl"]


def test_other_seed_gives_other_records() -> None:
    assert generate.make_records(1, 220) != generate.make_records(0, 220)


def test_rows_have_exactly_the_documented_fields(rows: list[dict[str, str]]) -> None:
    assert {tuple(row) for row in rows} == {("instruction", "input", "output", "category")}
    assert all(isinstance(value, str) for row in rows for value in row.values())


def test_enough_rows_spread_over_enough_categories(rows: list[dict[str, str]]) -> None:
    counts = Counter(row["category"] for row in rows)
    assert len(rows) >= 6000
    assert len(counts) >= 8
    assert max(counts.values()) - min(counts.values()) <= 1
    assert set(counts) == set(tasks.TASKS)


def test_no_prompt_occurs_twice(rows: list[dict[str, str]]) -> None:
    assert len({(row["instruction"], row["input"]) for row in rows}) == len(rows)


def test_outputs_are_short_and_clean(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row["instruction"] and row["output"] == row["output"].strip() != ""
        assert 1 <= len(row["output"].split()) <= 4
        assert len(row["instruction"]) + len(row["input"]) < 160


def test_no_category_is_won_by_one_constant_answer(rows: list[dict[str, str]]) -> None:
    answers = defaultdict(Counter)
    for row in rows:
        answers[row["category"]][row["output"]] += 1
    for category, counts in answers.items():
        assert max(counts.values()) / counts.total() < 0.6, category


def test_categories_are_mixed(rows: list[dict[str, str]]) -> None:
    assert len({row["category"] for row in rows[:100]}) == len(tasks.TASKS)


def by_category(rows: list[dict[str, str]], category: str) -> list[dict[str, str]]:
    return [row for row in rows if row["category"] == category]


def test_comparison_answers_are_right(rows: list[dict[str, str]]) -> None:
    for row in by_category(rows, "comparison"):
        numbers = [int(number) for number in re.findall(r"\d+", row["instruction"] + " " + row["input"])]
        choose = max if re.search("larger|greater", row["instruction"]) else min
        assert len(set(numbers)) == 2 and row["output"] == str(choose(numbers))


def test_extraction_and_position_answers_stand_in_the_text(rows: list[dict[str, str]]) -> None:
    for row in by_category(rows, "extraction") + by_category(rows, "position"):
        assert row["output"] in re.findall(r"\w+", row["input"])


def test_extraction_tells_giver_from_receiver(rows: list[dict[str, str]]) -> None:
    for row in by_category(rows, "extraction"):
        if re.search(r"\bgot\b", row["instruction"]):
            assert f"to {row['output']}" in row["input"]
        elif re.search(r"^Who|person", row["instruction"]):
            assert f"to {row['output']}" not in row["input"]


def test_position_answers_are_the_first_or_last_word(rows: list[dict[str, str]]) -> None:
    for row in by_category(rows, "position"):
        words = re.findall(r"\w+", row["input"])
        assert row["output"] == (words[0] if "first" in row["instruction"] else words[-1])


def test_yes_no_answers_agree_with_the_word_lists(rows: list[dict[str, str]]) -> None:
    kind_of = {word: kind for kind, words in tasks.WORDS["kinds"].items() for word in words}
    for row in by_category(rows, "yes_no"):
        text = (row["instruction"] + " " + row["input"]).lower()
        asked = re.search(r"an? (?:piece of )?(animal|fruit|tool|garment|colour|furniture)[?.]", text)
        named = [word for word in kind_of if re.search(rf"\b{word}\b", text)]
        assert asked and len(named) == 1, row
        assert row["output"] == ("yes" if kind_of[named[0]] == asked[1] else "no"), row


def test_lexical_answers_agree_with_the_word_lists(rows: list[dict[str, str]]) -> None:
    words = tasks.WORDS
    answers = {
        "plural": dict(words["plurals"]),
        "past_tense": dict(words["past_tenses"]),
        "opposite": dict(words["opposites"]) | {right: left for left, right in words["opposites"]},
        "word_class": {word: name for name, list_ in words["word_classes"].items() for word in list_},
        "kind": {word: kind for kind, list_ in words["kinds"].items() for word in list_},
    }
    for category, answer_of in answers.items():
        for row in by_category(rows, category):
            word = row["input"] or re.search(r'"(\w+)"', row["instruction"])[1]
            assert row["output"] == answer_of[word], row


def test_sequence_answers_are_the_neighbours(rows: list[dict[str, str]]) -> None:
    for row in by_category(rows, "sequence"):
        items = tasks.WORDS["days"] if row["output"] in tasks.WORDS["days"] else tasks.WORDS["months"]
        text = row["input"] or row["instruction"]
        word = next(word for word in re.findall(r"\w+", text)[::-1] if word in items)
        step = 1 if "after" in row["instruction"] else -1
        assert items[(items.index(word) + step) % len(items)] == row["output"], row


def test_word_lists_give_every_word_one_answer() -> None:
    words = tasks.WORDS
    for category in ("plurals", "past_tenses"):
        assert len({word for word, _ in words[category]}) == len(words[category])
    for pairs in (words["opposites"], words["kinds"].values(), words["word_classes"].values()):
        flat = [word for group in pairs for word in group]
        assert len(set(flat)) == len(flat)


def test_a_request_for_too_many_rows_names_the_category(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        generate.main(["--rows", "200000", "--output", str(tmp_path / "x")])
    assert error.value.code == 2
    assert "Category `" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_chooser_is_pinned() -> None:
    # If this changes, so does every committed row: Python only promises the sequence of `random.random`.
    chooser = tasks.Chooser("0/test")
    assert [chooser.below(1000) for _ in range(5)] == [762, 379, 230, 586, 445]
    assert sorted(chooser.shuffle(range(50))) == list(range(50))
    assert all(left != right for left, right in (chooser.pick_two("ab") for _ in range(50)))


def test_dirty_file_holds_every_fault_once_and_the_good_rows() -> None:
    content = DIRTY.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") and not content.endswith(b"\n")
    lines = Counter(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    for name, line in generate.make_faults().items():
        assert lines.pop(line) == 1, name
    good = [json.loads(line) for line in lines]
    assert len(good) == generate.NUM_DIRTY_GOOD_ROWS
    assert all(row["output"] and row["category"] in tasks.TASKS for row in good)
    assert sorted(lines.values())[-2:] == [1, 2]
    assert sum(line.endswith(b"\r") for line in lines) == 1


@pytest.mark.parametrize(
    "name", ["missing_comma", "single_quotes", "truncated", "trailing_text", "blank_line", "spaces_line", "raw_control"]
)
def test_faults_that_are_not_json(name: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(generate.make_faults()[name])


def test_faults_that_are_not_text() -> None:
    faults = generate.make_faults()
    with pytest.raises(UnicodeDecodeError):
        faults["invalid_utf8"].decode()
    with pytest.raises(UnicodeEncodeError):
        json.loads(faults["lone_surrogate"])["output"].encode()


@pytest.mark.parametrize("name", ["null_record", "list_record", "number_record", "text_record"])
def test_faults_that_are_not_records(name: str) -> None:
    assert not isinstance(json.loads(generate.make_faults()[name]), dict)
