"""The tasks of the sample data: each draws an instruction, its input and the one right answer.

Made from the word lists in `words.json` and the phrases below. The only source of chance is `random.Random.random`, whose
sequence Python guarantees, so that the same seed gives the same records in every version.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

WORDS: dict[str, Any] = json.loads((Path(__file__).parent / "words.json").read_text(encoding="utf-8"))


class Chooser:
    """Seeded choices that stay the same in every Python version."""

    def __init__(self, seed: str):
        # A text seed goes through SHA-512, so neighbouring seeds have nothing in common.
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        """Return an integer from 0 to `limit` - 1."""
        return int(self._random.random() * limit)

    def pick(self, items: Sequence[T]) -> T:
        """Return one of `items`."""
        return items[self.below(len(items))]

    def pick_two(self, items: Sequence[T]) -> tuple[T, T]:
        """Return two `items` from different places."""
        first = self.below(len(items))
        second = self.below(len(items) - 1)
        return items[first], items[second + (second >= first)]

    def shuffle(self, items: Sequence[T]) -> list[T]:
        """Return `items` in random order (Fisher-Yates)."""
        shuffled = list(items)
        for last in range(len(shuffled) - 1, 0, -1):
            other = self.below(last + 1)
            shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
        return shuffled


# A task draws one (instruction, input, output).
Task = Callable[[Chooser], tuple[str, str, str]]


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _ask_about_word(chooser: Chooser, targets: Sequence[str], word: str) -> tuple[str, str]:
    """Return an instruction that asks for `target` of `word`, and its input: empty if the instruction holds the word."""
    target, opening = chooser.pick(targets), chooser.pick(WORDS["openings"])
    return chooser.pick(
        [
            (f"{opening} {target} this word.", word),
            (f"{opening} {target} the word below.", word),
            (f'{opening} {target} the word "{word}".', ""),
            (f'What is {target} the word "{word}"?', ""),
        ]
    )


def _opposite(chooser: Chooser) -> tuple[str, str, str]:
    pair = chooser.pick(WORDS["opposites"])
    word, answer = pair if chooser.below(2) else reversed(pair)
    return *_ask_about_word(chooser, ["the opposite of", "the antonym of", "the contrary of"], word), answer


def _plural(chooser: Chooser) -> tuple[str, str, str]:
    word, answer = chooser.pick(WORDS["plurals"])
    return *_ask_about_word(chooser, ["the plural of", "the plural form of"], word), answer


def _past_tense(chooser: Chooser) -> tuple[str, str, str]:
    word, answer = chooser.pick(WORDS["past_tenses"])
    return *_ask_about_word(chooser, ["the past tense of", "the simple past of"], word), answer


def _word_class(chooser: Chooser) -> tuple[str, str, str]:
    answer = chooser.pick(list(WORDS["word_classes"]))
    word = chooser.pick(WORDS["word_classes"][answer])
    if chooser.below(2):
        return *_ask_about_word(chooser, ["the word class of", "the part of speech of"], word), answer
    options = chooser.pick(
        ["a noun, a verb or an adjective", "an adjective, a noun or a verb", "a verb, an adjective or a noun"]
    )
    question = chooser.pick([f'Is "{word}" {options}?', f"Is this word {options}?", f"Is the word below {options}?"])
    return question, "" if '"' in question else word, answer


def _kind(chooser: Chooser) -> tuple[str, str, str]:
    answer = chooser.pick(list(WORDS["kinds"]))
    word = chooser.pick(WORDS["kinds"][answer])
    return *_ask_about_word(chooser, ["the category of", "the kind of thing meant by", "the group for"], word), answer


def _yes_no(chooser: Chooser) -> tuple[str, str, str]:
    kinds = list(WORDS["kinds"])
    kind, other = chooser.pick_two(kinds)
    while (kind, other) == ("fruit", "colour"):  # many a fruit names a colour too
        kind, other = chooser.pick_two(kinds)
    word = chooser.pick(WORDS["kinds"][kind])
    is_true = chooser.below(2) == 1
    asked = kind if is_true else other
    a_kind = "a piece of furniture" if asked == "furniture" else _with_article(asked)
    a_word = word if kind == "colour" else _with_article(word)
    statement = f"{a_word[0].upper()}{a_word[1:]} is {a_kind}."
    say = chooser.pick(["Answer", "Reply", "Say"])
    instruction, text = chooser.pick(
        [
            (f"Is {a_word} {a_kind}? {say} yes or no.", ""),
            (f"{say} yes or no: is {a_word} {a_kind}?", ""),
            (f"Yes or no: {a_word} is {a_kind}.", ""),
            (f"{say} yes or no to the question.", f"Is {a_word} {a_kind}?"),
            (f"Is this true? {say} yes or no.", statement),
            (f"Is the statement right? {say} yes or no.", statement),
        ]
    )
    return instruction, text, "yes" if is_true else "no"


def _sentiment(chooser: Chooser) -> tuple[str, str, str]:
    thing, is_positive = chooser.pick(WORDS["experiences"]), chooser.below(2) == 1
    degree, name = chooser.pick(WORDS["degrees"]), chooser.pick(WORDS["names"])
    adjective = chooser.pick(WORDS["praise" if is_positive else "blame"])
    verb = chooser.pick(WORDS["likes" if is_positive else "dislikes"])
    sentences = [
        f"The {thing} was {degree} {adjective}.",
        f"{name} thought that the {thing} was {adjective}.",
        f"{name} {chooser.pick(WORDS['stresses'])} {verb} the {thing}.",
        f"What {_with_article(adjective)} {thing}!" if thing != "music" else f"What {adjective} music!",
    ]
    if not is_positive:
        # Praise denied is blame; blame denied ("not terrible") would be neither.
        sentences.append(f"The {thing} was not {chooser.pick(WORDS['praise'])} at all.")
        sentences.append(f"{name} did not like the {thing}.")
    question = chooser.pick(
        [
            "Is the sentiment of this sentence positive or negative?",
            "Is this sentence positive or negative?",
            "Does the writer sound positive or negative?",
            "Label the sentence as positive or negative.",
            "Judge the feeling of the sentence: positive or negative.",
            "Name the sentiment: negative or positive.",
        ]
    )
    return question, chooser.pick(sentences), "positive" if is_positive else "negative"


def _extraction(chooser: Chooser) -> tuple[str, str, str]:
    giver, receiver = chooser.pick_two(WORDS["names"])
    verb, participle = chooser.pick(WORDS["givings"])
    thing, place = chooser.pick(WORDS["things"]), chooser.pick(WORDS["places"])
    sentence = chooser.pick(
        [
            f"{giver} {verb} the {thing} to {receiver} in the {place}.",
            f"In the {place}, {giver} {verb} the {thing} to {receiver}.",
            f"The {thing} was {participle} to {receiver} by {giver} in the {place}.",
        ]
    )
    questions, answer = chooser.pick(
        [
            (
                [
                    f"Who {verb} the {thing}?",
                    f"Name the person who {verb} the {thing}.",
                    f"Which person {verb} the {thing}?",
                ],
                giver,
            ),
            (
                [f"Who got the {thing}?", f"Name the person who got the {thing}.", f"Which person got the {thing}?"],
                receiver,
            ),
            ([f"Where was {giver}?", f"Name the place where {giver} was.", "Where did it happen?"], place),
        ]
    )
    return chooser.pick(questions), sentence, answer


def _position(chooser: Chooser) -> tuple[str, str, str]:
    starts = [*WORDS["sentence_starts"], *WORDS["names"]]
    start, place = chooser.pick(starts), chooser.pick(WORDS["places"])
    person, verb = chooser.pick(WORDS["sentence_people"]), chooser.pick(WORDS["sentence_verbs"])
    adjective = chooser.pick(WORDS["sentence_adjectives"])
    subject = start if start in WORDS["names"] else f"{start} the {person}"
    sentence = f"{subject} {verb} the {adjective} {place}."
    question = chooser.pick(
        [
            "What is the {} word of the sentence?",
            "Write the {} word of this sentence.",
            "Copy the {} word of the sentence.",
            "Which word comes {} in this sentence?",
            "Give the {} word.",
            "Repeat only the {} word of the sentence below.",
        ]
    )
    position, answer = chooser.pick([("first", start), ("last", place)])
    return question.format(position), sentence, answer


def _sequence(chooser: Chooser) -> tuple[str, str, str]:
    name, items = chooser.pick([("day", WORDS["days"]), ("month", WORDS["months"])])
    step, relation = chooser.pick([(1, "after"), (-1, "before")])
    index = chooser.below(len(items))
    word, answer = items[index], items[(index + step) % len(items)]
    opening = chooser.pick(WORDS["openings"])
    adverb = chooser.pick(["", "just ", "right ", "directly "])
    instruction, text = chooser.pick(
        [
            (f"What {name} comes {adverb}{relation} {word}?", ""),
            (f"Which {name} is {adverb}{relation} {word}?", ""),
            (f"{opening} the {name} {adverb}{relation} {word}.", ""),
            (f"{opening} the {name} that comes {adverb}{relation} this one.", word),
            (f"Which {name} comes {adverb}{relation} the one below?", word),
        ]
    )
    return instruction, text, answer


def _comparison(chooser: Chooser) -> tuple[str, str, str]:
    # Hard for a small model, which reads numbers as digits: the category that keeps the score below 100 %.
    first, second = chooser.pick_two(range(1, 21))
    opening = chooser.pick(WORDS["openings"])
    question, answer = chooser.pick(
        [
            ("larger", max(first, second)),
            ("smaller", min(first, second)),
            ("greater", max(first, second)),
            ("lower", min(first, second)),
        ]
    )
    instruction, text = chooser.pick(
        [
            (f"Which number is {question}, {first} or {second}?", ""),
            (f"{opening} the {question} number.", f"{first} or {second}"),
            (f"{opening} the {question} of the two numbers.", f"{first}, {second}"),
            (f"Of {first} and {second}, which is {question}?", ""),
        ]
    )
    return instruction, text, str(answer)


TASKS: dict[str, Task] = {
    "comparison": _comparison,
    "extraction": _extraction,
    "kind": _kind,
    "opposite": _opposite,
    "past_tense": _past_tense,
    "plural": _plural,
    "position": _position,
    "sentiment": _sentiment,
    "sequence": _sequence,
    "word_class": _word_class,
    "yes_no": _yes_no,
}
