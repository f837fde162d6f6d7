"""Constraints on a text that a program can check, by name: IFEval's (Zhou et al. 2023, arXiv 2311.07911), and some plain ones.

A constraint is a function from the text and its arguments to whether the text follows it. Those of IFEval are called as in its
data, `group:name`, and decide as its published checks do, but that sentences and words in capitals are told apart by rules
instead of NLTK's downloaded model.
"""

import collections
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from components.metrics.patterns import is_found

_MARKS = ".,?!'\""
_RELATIONS = {"at least": operator.ge, "less than": operator.lt, None: operator.ge}
# What ends a sentence, unless it ends an abbreviation, an initial or a number of a list.
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[^\sa-z])")
_NO_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|Inc|Ltd|Jr|Sr)|(?:^|\s)(?:[A-Z]|\d+))\.$")
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")

Arguments = Mapping[str, Any]


def _compare(count: int, relation: str | None, wanted: int) -> bool:
    if relation not in _RELATIONS:
        raise ValueError(f"a relation must be one of at least, less than. Received: {relation!r}")
    if isinstance(wanted, bool):
        raise TypeError("a number is needed")
    return bool(_RELATIONS[relation](count, wanted))


def count_sentences(text: str) -> int:
    """Number of sentences of a text."""
    parts = [part for line in text.split("\n") if line.strip() for part in _SENTENCE_END.split(line.strip())]
    return sum(1 for part in parts if not _NO_END.search(part.strip())) or (1 if text.strip() else 0)


def is_language(text: str, language: str) -> bool:
    """Whether langdetect finds the text to be in a language (ISO 639-1); so is what has no letters."""
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0  # it draws
    try:
        return bool(detect(text) == language)
    except LangDetectException:
        return True


def _keywords_exist(text: str, a: Arguments) -> bool:
    # As words, not as patterns: those of strangers can search for ever.
    return all(re.search(re.escape(keyword), text, re.IGNORECASE) for keyword in a["keywords"])


def _keyword_frequency(text: str, a: Arguments) -> bool:
    return _compare(len(re.findall(re.escape(a["keyword"]), text, re.IGNORECASE)), a.get("relation"), a["frequency"])


def _no_forbidden_words(text: str, a: Arguments) -> bool:
    return not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in a["forbidden_words"])


def _letter_frequency(text: str, a: Arguments) -> bool:
    return _compare(collections.Counter(text.lower())[a["letter"].lower()], a.get("let_relation"), a["let_frequency"])


def _sentences(text: str, a: Arguments) -> bool:
    return _compare(count_sentences(text), a.get("relation"), a["num_sentences"])


def _paragraphs(text: str, a: Arguments) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    inner = parts[1:-1]
    filled = [part for part in parts if part.strip()]
    return all(part.strip() for part in inner) and len(filled) == a["num_paragraphs"]


def _words(text: str, a: Arguments) -> bool:
    return _compare(len(re.findall(r"\w+", text)), a.get("relation"), a["num_words"])


def _paragraph_first_word(text: str, a: Arguments) -> bool:
    parts = text.split("\n\n")
    count = sum(1 for part in parts if part.strip())
    place = a["nth_paragraph"]
    if place > count or not parts[place - 1].strip():
        return False
    word = parts[place - 1].split()[0].lstrip("'").lstrip('"')
    first = re.split(f"[{re.escape(_MARKS)}]", word)[0].lower()
    return count == a["num_paragraphs"] and first == a["first_word"].lower()


def _placeholders(text: str, a: Arguments) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= a["num_placeholders"]


def _postscript(text: str, a: Arguments) -> bool:
    patterns = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    pattern = patterns.get(a["postscript_marker"], r"\s*" + a["postscript_marker"].lower() + r".*$")
    return re.search(pattern, text.lower(), re.MULTILINE) is not None


def _bullets(text: str, a: Arguments) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == a["num_bullets"]


def _constrained_response(text: str, _: Arguments) -> bool:
    return any(answer in text for answer in ("My answer is yes.", "My answer is no.", "My answer is maybe."))


def _highlights(text: str, a: Arguments) -> bool:
    found = [part.strip("*") for part in re.findall(r"\*[^\n\*]*\*", text)]
    found += [part[2:-2] for part in re.findall(r"\*\*[^\n\*]*\*\*", text)]
    return sum(1 for part in found if part.strip()) >= a["num_highlights"]


def _sections(text: str, a: Arguments) -> bool:
    return len(re.split(r"\s?" + re.escape(a["section_spliter"]) + r"\s?\d+\s?", text)) - 1 >= a["num_sections"]


def _json(text: str, _: Arguments) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, _: Arguments) -> bool:
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str, _: Arguments) -> bool:
    parts = text.split("******")
    filled = [part.strip() for part in parts if part.strip()]
    return all(part.strip() for part in parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def _repeats_prompt(text: str, a: Arguments) -> bool:
    return text.strip().lower().startswith(a["prompt_to_repeat"].strip().lower())


def _ends_with(text: str, a: Arguments) -> bool:
    return text.strip().strip('"').lower().endswith(a["end_phrase"].strip().lower())


def _quoted(text: str, _: Arguments) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _capital_words(text: str, a: Arguments) -> bool:
    count = sum(1 for word in _WORD.findall(text) if word.isupper())
    return _compare(count, a.get("capital_relation"), a["capital_frequency"])


IFEVAL: dict[str, Callable[[str, Arguments], bool]] = {
    "keywords:existence": _keywords_exist,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": lambda text, a: is_language(text, a["language"]),
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _paragraph_first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with,
    "startend:quotation": _quoted,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda text, _: text.isupper() and is_language(text, "en"),
    "change_case:english_lowercase": lambda text, _: text.islower() and is_language(text, "en"),
    "punctuation:no_comma": lambda text, _: "," not in text,
}
PLAIN: dict[str, Callable[[str, Arguments], bool]] = {
    "contains": lambda text, a: a["text"].casefold() in text.casefold(),
    "lacks": lambda text, a: a["text"].casefold() not in text.casefold(),
    "matches": lambda text, a: is_found(a["pattern"], text),
    "starts_with": lambda text, a: text.lstrip().startswith(a["text"]),
    "max_words": lambda text, a: len(text.split()) <= a["number"],
    "min_words": lambda text, a: len(text.split()) >= a["number"],
    "max_characters": lambda text, a: len(text) <= a["number"],
}
CONSTRAINTS = IFEVAL | PLAIN


def follows(text: str, name: str, arguments: Arguments) -> bool:
    """Whether a text follows a constraint; an empty one follows none.

    Args:
        text: The text.
        name: Of the constraint; a language may stand before it (`en:keywords:existence`).
        arguments: Its own.

    Raises:
        ValueError: There is no such constraint, or its arguments are not what they must be.
    """
    if not isinstance(name, str):
        raise ValueError(f"a constraint must be a name. Received: {name!r}")
    check = CONSTRAINTS.get(name) or CONSTRAINTS.get(name.partition(":")[2])
    if check is None:
        raise ValueError(f"a constraint must be one of {', '.join(CONSTRAINTS)}. Received: {name!r}")
    try:
        return bool(text.strip()) and check(text, arguments)
    except (KeyError, TypeError, AttributeError, re.error) as error:
        raise ValueError(
            f"the constraint {name} needs other arguments ({error!r}). Received: {dict(arguments)}"
        ) from error
