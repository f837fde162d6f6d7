"""The card: valid YAML in front, nothing that is not known, and names from data that stay text."""

import re

import pytest
import yaml

from components.export.hugging_face.card import CardFacts, Data, Metric, quote, render_card

HOSTILE = "a`b|c\n---\nlicense: mit\n<script>alert(1)</script> [x](http://e.vil) *b* ``"


def make(**options):
    return CardFacts(
        **{
            "name": "my-pipeline 20261130-101500-000000",
            "base_model": "hf://HuggingFaceTB/SmolLM2-135M-Instruct@abc",
            "licence": "Apache-2.0",
            "method": {"name": "lora", "rank": 16},
            "training": {"steps": 300, "hardware": ""},
            "template": "chatml",
            "data": [Data(name="gsm8k.jsonl", sha256="0f" * 32, rows={"read": 7473, "in train": 6000})],
            "split": "test",
            "metrics": [
                Metric(name="exact_match", slice_name="overall", value=0.51234, low=0.48, high=0.54, before=0.25),
                Metric(name="loss", slice_name="topic=a|b", value=1.25),
            ],
            "verdict": "blessed: better",
            "provenance": {"run": "20261130-101500-000000", "commit": "c0ffee"},
        }
        | options
    )


def split(card):
    match = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.DOTALL)
    return yaml.safe_load(match[1]), match[2]


def test_front_matter():
    front, _ = split(render_card(make()))
    assert front == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "base_model_relation": "finetune",
        "license": "apache-2.0",
        "tags": ["fine-tuned", "lora"],
        "datasets": ["gsm8k.jsonl"],
        "model-index": [
            {
                "name": "my-pipeline 20261130-101500-000000",
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "gsm8k.jsonl", "type": "gsm8k.jsonl", "split": "test"},
                        "metrics": [
                            {
                                "type": "exact_match",
                                "value": 0.51234,
                                "name": "exact_match (95 % interval 0.48 to 0.54)",
                            }
                        ],
                    }
                ],
            }
        ],
    }


def test_intervals_have_the_confidence_of_the_evaluation():
    front, body = split(render_card(make(confidence=0.8)))
    assert front["model-index"][0]["results"][0]["metrics"][0]["name"] == "exact_match (80 % interval 0.48 to 0.54)"
    assert ", with 80 % intervals." in body


def test_body():
    _, body = split(render_card(make()))
    assert body.startswith("\n# `my-pipeline 20261130-101500-000000`\n")
    for line in (
        "A fine-tuned version of `hf://HuggingFaceTB/SmolLM2-135M-Instruct@abc`.",
        "Prompts were written by the template `chatml`.",
        "| method | `lora` |",
        "| method: `rank` | `16` |",
        "| steps | `300` |",
        f"| `gsm8k.jsonl` | `{'0f' * 32}` | `7,473 read, 6,000 in train` |",
        "Verdict of the gate: `blessed: better`.",
        "| `exact_match` | `overall` | 0.5123 | 0.48 to 0.54 | 0.25 |",
        r"| `loss` | `topic=a\|b` | 1.25 |  |  |",
        "| commit | `c0ffee` |",
    ):
        assert f"\n{line}\n" in body, line
    assert "hardware" not in body


def test_the_models_own_template():
    _, body = split(render_card(make(template="auto")))
    assert "\nPrompts were written by the model's own chat template, or, if it has none, by `alpaca`.\n" in body


def test_what_is_not_known_is_left_out():
    front, body = split(
        render_card(
            CardFacts(name="m", base_model="/srv/me/models/base", method={}, training={}, provenance={"commit": ""})
        )
    )
    assert front == {"library_name": "transformers", "pipeline_tag": "text-generation"}
    assert "The model `base`, as it is." in body
    assert "/srv/me" not in body
    assert "None is recorded" in body
    assert "## Data" not in body
    assert "## Provenance" not in body


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Llama 3.2 Community License", {"license": "other", "license_name": "Llama 3.2 Community License"}),
        ("MIT", {"license": "mit"}),
    ],
)
def test_licences(licence, expected):
    front, _ = split(render_card(make(licence=licence)))
    assert {key: value for key, value in front.items() if key.startswith("license")} == expected


def test_names_from_data_stay_text():
    metrics = [Metric(name=HOSTILE, slice_name=name, value=1.0, low=0.5, high=1.5) for name in ("overall", HOSTILE)]
    hostile = make(
        name=HOSTILE,
        base_model=HOSTILE,
        licence=HOSTILE,
        method={"name": HOSTILE, HOSTILE: HOSTILE},
        training={"x": HOSTILE},
        template=HOSTILE,
        data=[Data(name=HOSTILE)],
        split=HOSTILE,
        metrics=metrics,
        verdict=HOSTILE,
        provenance={"run": HOSTILE},
    )
    front, body = split(render_card(hostile))
    flat = " ".join(HOSTILE.split())
    assert front["license"] == "other"
    assert front["license_name"] == front["datasets"][0] == front["model-index"][0]["name"] == flat
    assert "base_model" not in front
    # Outside of code there is nothing of it: no tag, no link, no front matter of its own.
    outside = re.sub(r"(`+) .*? \1(?!`)", "", body)
    for part in ("<script>", "](http", "license: mit"):
        assert part in body
        assert part not in outside, outside


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a|b", r"`a\|b`"),
        ("a\n\tb\x00c", "`a b c`"),
        ("", ""),
    ],
)
def test_quoting(text, expected):
    assert quote(text) == expected


def test_no_character_of_a_name_commands_a_terminal():
    card = render_card(make(name="a\u202eb\x9bc", split="t\u009bx"))
    assert not {"\u202e", "\x9b"} & set(card)
    assert "<U+202E>" in card
