import io
import json
import random

import pytest

from components.errors import UserError
from components.example_gen import json_array
from components.example_gen.json_array import Position, iter_elements


def elements(text, limit=1 << 20):
    return list(iter_elements(io.BytesIO(text.encode()), Position(1, 1, 0), limit))


def random_value(rng, depth=3):
    kind = rng.randrange(7 if depth else 5)
    if kind == 5:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {
            str(i) + rng.choice(['"', "\\", "}", "]", ","]): random_value(rng, depth - 1)
            for i in range(rng.randrange(4))
        }
    return ["".join(rng.choices('ab"\\{}[],\n\té漢😀', k=rng.randrange(12))), 1.5, None, True, -3][kind]


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 1 << 18])
def test_elements_are_those_of_the_parsed_array_at_any_chunk_border(monkeypatch, chunk_bytes):
    monkeypatch.setattr(json_array, "_CHUNK_BYTES", chunk_bytes)
    rng = random.Random(0)
    for _ in range(60):
        value = [random_value(rng) for _ in range(rng.randrange(6))]
        text = json.dumps(value, indent=rng.choice([None, 2]), ensure_ascii=rng.random() < 0.5)
        found = elements(text[1:] + " \n")
        assert [json.loads(element.raw) for element in found] == value
        for element in found:  # the place that is told is where the element is
            data = text.encode()
            assert data[element.position.offset :].startswith(element.raw)
            assert data[: element.position.offset].count(b"\n") + 1 == element.position.line


@pytest.mark.parametrize(
    ("text", "cause", "place"),
    [
        ("1,]", "a value is missing", "line 1, column 4 "),
        (",1]", "a value is missing", "line 1, column 2 "),
        ("1,\n,2]", "a value is missing", "line 2, column 1 "),
        ("1", "the array is not closed", "line 1, column 3 "),
        ("", "the array is not closed", "line 1, column 2 "),
        ('"a', "a string is not closed", "line 1, column 4 "),
        ('"a\\', "a string is not closed", "line 1, column 5 "),
        ("1}", "a brace closes nothing", "line 1, column 3 "),
        ("1] \n 2", "something follows the end", "line 2, column 2 "),
        ("1]]", "something follows the end", "line 1, column 4 "),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 18])
def test_a_broken_array_says_where(monkeypatch, text, cause, place, chunk_bytes):
    monkeypatch.setattr(json_array, "_CHUNK_BYTES", chunk_bytes)
    with pytest.raises(UserError) as error:
        elements(text)
    assert cause in str(error.value)
    assert place in str(error.value)


def test_a_large_element_is_cut_and_those_behind_it_are_whole(monkeypatch):
    monkeypatch.setattr(json_array, "_CHUNK_BYTES", 16)
    first, large, last = elements('1,\n {"a": "' + "x" * 1000 + '"}, {"b": 2}]', limit=100)
    assert (first.too_large, large.too_large, last.too_large) == (False, True, False)
    assert large.raw.startswith(b'{"a"')
    assert [e.position.line for e in (first, large, last)] == [1, 2, 2]
    assert len(large.raw) <= 16
    assert last.raw == b'{"b": 2}'
