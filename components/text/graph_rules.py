"""Which rules of a tokenizer the exported graph can follow: those of `tokenizer.json`, read into steps that it has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.text.tokenizer_rules import read_rules
from components.text.word_patterns import UnknownPatternError, WordPattern, compile_pattern, match_class

# What ByteLevel splits by.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Where the words of a text begin and end, by how a match behaves: the text that takes the place of a match.
_BEHAVIORS = {"Isolated": r",\0,", "Contiguous": r",\0,", "MergedWithPrevious": r"\0,", "MergedWithNext": r",\0"}


@dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A token that is found in a text before anything else.

    Attributes:
        content: Its characters.
        token_id: Its id.
        normalized: Whether it is looked for once the text is normalized.
        takes_left: Whether the spaces before it belong to it.
        takes_right: Whether the spaces behind it belong to it.
    """

    content: str
    token_id: int
    normalized: bool
    takes_left: bool
    takes_right: bool


@dataclass(frozen=True, kw_only=True)
class Replace:
    """A normalizer that replaces one text by another."""

    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Prepend:
    """Puts a text before each piece that is not empty."""

    text: str
    only_first: bool = False
    unless_there: bool = False


@dataclass(frozen=True, kw_only=True)
class Compose:
    """Unicode's normal form C."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Cuts words by a pattern; `rewrite` has a comma where a word ends."""

    pattern: WordPattern
    rewrite: str


@dataclass(frozen=True, kw_only=True)
class ToBytes:
    """From here on a word is a row of bytes, each written as one printable character."""


@dataclass(frozen=True, kw_only=True)
class GraphRules:
    """What the graph does, in this order.

    Attributes:
        added_tokens: Found first.
        normalizers: `Compose`, `Replace` and `Prepend`, on each piece between added tokens.
        preparations: The same, once the normalized tokens are found too.
        splits: `Split` and at most one `ToBytes`.
        byte_level: Whether there is that one.
        ignore_merges: Whether a word that is a token is taken whole.
        unknown_id: For what is no token, if there is one.
        fuse_unknown: Whether several of these in a row become one.
        byte_fallback: Whether what is no token becomes bytes.
        strip: How many spaces the decoder takes off the beginning.
    """

    added_tokens: tuple[AddedToken, ...]
    normalizers: tuple[Compose | Replace | Prepend, ...]
    preparations: tuple[Replace | Prepend, ...]
    splits: tuple[Split | ToBytes, ...]
    byte_level: bool
    ignore_merges: bool
    unknown_id: int | None
    fuse_unknown: bool
    byte_fallback: bool
    strip: int


class _UnknownRuleError(ValueError):
    pass


def find_unknown_rules(rules: Mapping[str, Any]) -> list[str]:
    """Returns what of a `tokenizer.json` the exported graph could not follow, by name; empty if it could follow all."""
    found = []
    for read in (_read_added, _read_normalizers, _read_splits, _read_model, _read_decoder):
        try:
            read(rules)
        except _UnknownRuleError as error:
            found.append(str(error))
        except (KeyError, TypeError, AttributeError) as error:
            found.append(f"what `tokenizers` would not read ({type(error).__name__}: {error})")
    return found


def find_tokenizer_problems(folder: str | Path) -> list[str]:
    """Returns why the exported graph could not make the tokens of the model in a preset folder, each a sentence.

    Known where the publisher's `tokenizer.json` is there; else it turns out when the model is loaded.
    """
    try:
        rules = read_rules(folder)
    except UserError as error:
        return [str(error)]
    if rules is None or rules["model"]["type"] != "BPE":
        return []
    return [
        f"the exported model must make its tokens inside of its graph, which does not know {rule}. Take a model of another family."
        for rule in find_unknown_rules(rules)
    ]


def read_graph_rules(rules: Mapping[str, Any]) -> GraphRules:
    """Returns the steps of a `tokenizer.json`.

    Raises:
        UserError: If there is one that the graph could not follow.
    """
    if unknown := find_unknown_rules(rules):
        raise UserError(
            "the exported model must make the tokens of the training inside of its graph, by rules that are known there. "
            f"Received from the tokenizer: {'; '.join(unknown)}. Take a model of another family."
        )
    model = rules["model"]
    before, splits = _read_splits(rules)
    unknown_token = model.get("unk_token")
    return GraphRules(
        added_tokens=_read_added(rules),
        normalizers=_read_normalizers(rules),
        preparations=before,
        splits=splits,
        byte_level=any(isinstance(step, ToBytes) for step in splits),
        ignore_merges=bool(model.get("ignore_merges")),
        unknown_id=model["vocab"].get(unknown_token) if unknown_token else None,
        fuse_unknown=bool(model.get("fuse_unk")),
        byte_fallback=bool(model.get("byte_fallback")),
        strip=_read_decoder(rules),
    )


def _read_added(rules: Mapping[str, Any]) -> tuple[AddedToken, ...]:
    tokens = []
    for token in rules.get("added_tokens") or ():
        if token.get("single_word"):
            raise _UnknownRuleError(f"the token {token['content']!r} is found between other words only (`single_word`)")
        tokens.append(
            AddedToken(
                content=token["content"],
                token_id=token["id"],
                normalized=bool(token.get("normalized")),
                takes_left=bool(token.get("lstrip")),
                takes_right=bool(token.get("rstrip")),
            )
        )
    return tuple(token for token in tokens if token.content)


def _read_normalizers(rules: Mapping[str, Any]) -> tuple[Compose | Replace | Prepend, ...]:
    steps: list[Compose | Replace | Prepend] = []
    for step in _flatten(rules.get("normalizer"), "normalizers"):
        kind = step["type"]
        if kind == "NFC":
            steps.append(Compose())
        elif kind == "Prepend":
            steps.append(Prepend(text=step["prepend"]))
        elif kind == "Replace" and "String" in step["pattern"]:
            steps.append(Replace(old=step["pattern"]["String"], new=step["content"]))
        else:
            raise _UnknownRuleError(f"the normalizer {_name(step)}")
    return tuple(steps)


def _read_splits(rules: Mapping[str, Any]) -> tuple[tuple[Replace | Prepend, ...], tuple[Split | ToBytes, ...]]:
    """Returns what is done to the text of a piece, and how it is cut."""
    before: list[Replace | Prepend] = []
    steps: list[Split | ToBytes] = []
    for step in _flatten(rules.get("pre_tokenizer"), "pretokenizers"):
        kind = step["type"]
        if kind == "Split":
            steps.append(_read_split(step))
        elif kind in ("Digits", "Punctuation"):
            behavior = step.get("behavior", "Isolated")
            if kind == "Digits":
                behavior = "Isolated" if step["individual_digits"] else "Contiguous"
            steps.append(
                Split(pattern=match_class(kind, repeated=behavior == "Contiguous"), rewrite=_rewrite(step, behavior))
            )
        elif kind == "ByteLevel" and not any(isinstance(earlier, ToBytes) for earlier in steps):
            if step.get("add_prefix_space"):
                if steps:
                    raise _UnknownRuleError(
                        "`ByteLevel` that puts a space before words (`add_prefix_space`) which are cut already"
                    )
                before.append(Prepend(text=" ", unless_there=True))
            if step.get("use_regex", True):
                steps.append(Split(pattern=compile_pattern(GPT2_PATTERN), rewrite=_BEHAVIORS["Isolated"]))
            steps.append(ToBytes())
        elif kind == "Metaspace" and not step.get("split", True) and not steps and not before:
            space = step.get("replacement", "\u2581")
            scheme = step.get("prepend_scheme", "always")
            before.append(Replace(old=" ", new=space))
            if scheme != "never":
                before.append(Prepend(text=space, only_first=scheme == "first", unless_there=True))
        else:
            raise _UnknownRuleError(f"the pre-tokenizer {_name(step)}")
    return tuple(before), tuple(steps)


def _read_split(step: Mapping[str, Any]) -> Split:
    behavior = step["behavior"]
    if step.get("invert"):
        raise _UnknownRuleError("the pre-tokenizer `Split` with `invert`")
    rewrite = _rewrite(step, behavior)
    pattern = step["pattern"]
    text = (
        pattern["Regex"]
        if "Regex" in pattern
        else "".join(f"\\{c}" if not c.isalnum() else c for c in pattern["String"])
    )
    try:
        return Split(pattern=compile_pattern(f"(?:{text})+" if behavior == "Contiguous" else text), rewrite=rewrite)
    except UnknownPatternError as error:
        raise _UnknownRuleError(f"the pre-tokenizer `Split` by `{text}`: {error}") from error


def _rewrite(step: Mapping[str, Any], behavior: str) -> str:
    if behavior not in _BEHAVIORS:
        raise _UnknownRuleError(f"the pre-tokenizer `{step['type']}` whose matches are `{behavior}`")
    return _BEHAVIORS[behavior]


def _read_model(rules: Mapping[str, Any]) -> None:
    model = rules["model"]
    if model["type"] != "BPE":
        raise _UnknownRuleError(f"the model `{model['type']}`")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise _UnknownRuleError(f"`{name}` {model[name]!r}")
    steps = _read_splits(rules)[1]
    if model.get("ignore_merges") and steps and any(isinstance(step, ToBytes) for step in steps[:-1]):
        raise _UnknownRuleError("`ignore_merges` of words that are cut between bytes")


def _read_decoder(rules: Mapping[str, Any]) -> int:
    steps = _flatten(rules.get("decoder"), "decoders")
    kinds = [step["type"] for step in steps]
    if any(isinstance(step, ToBytes) for step in _read_splits(rules)[1]):
        if kinds != ["ByteLevel"]:
            raise _UnknownRuleError(f"the decoder {kinds} of a byte-level tokenizer")
        return 0
    if kinds not in (["Replace", "ByteFallback", "Fuse"], ["Replace", "ByteFallback", "Fuse", "Strip"]):
        raise _UnknownRuleError(f"the decoder {kinds}")
    if (steps[0]["pattern"], steps[0]["content"]) != ({"String": "\u2581"}, " "):
        raise _UnknownRuleError(f"the decoder {_name(steps[0])}")
    if len(steps) == 4 and (steps[3]["content"] != " " or steps[3]["stop"]):
        raise _UnknownRuleError(f"the decoder {_name(steps[3])}")
    return int(steps[3]["start"]) if len(steps) == 4 else 0


def _flatten(step: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    return list(_walk(step, key)) if step else []


def _walk(step: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    if step["type"] != "Sequence":
        yield step
        return
    for inner in step[key]:
        yield from _walk(inner, key)


def _name(step: Mapping[str, Any]) -> str:
    settings = {name: value for name, value in step.items() if name != "type"}
    return f"`{step['type']}` {settings}"
