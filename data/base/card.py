"""Write the model card from the record of the run, so that its figures are those of the weights beside it."""

from collections.abc import Mapping
from typing import Any

_CARD = """\
# tiny_gpt2_en

A GPT-2 of {num_parameters:,} parameters with a tokenizer of its own, trained from nothing on a CPU. It is small enough to live in
the repository, so that the pipeline, its tests and its examples run without a download and without an account. It loads with

```python
keras_hub.models.CausalLM.from_preset("data/base/tiny_gpt2_en")
```

Do not use it in production: it knows the English of old novels and nothing else.

## Model

| | |
| --- | --- |
| architecture | `keras_hub.models.GPT2CausalLM`, tied embeddings |
{config_rows}
| parameters | {num_parameters:,} |
| weights | float16 in the file, float32 once loaded |

The tokenizer is a byte-level BPE: any text goes in and comes out unchanged. Ids are laid out as in GPT-2: bytes, merges, and
`<|endoftext|>` last, which starts and ends a document; id 0, which KerasHub pads with, is the ordinary token `!`. Merges stay
inside runs of letters, runs of punctuation and single digits. Words are cut by GPT-2's pattern, in this training as wherever the
pipeline makes ids. KerasHub 0.32 alone gives the same but for words right after an apostrophe that begin like a contraction, such as
`'verily`: 1 token in 7,000 of the training text. Words know the space before them: a word at the start of a line, such as an answer,
usually takes one or two tokens more than the same word in a sentence. Some words of instruction prompts (`### Instruction`,
`### Response`, ...) are single tokens; in the training text most of them are rare or absent.

## Data

{corpus_sentence}: 18 English novels of the 18th and 19th centuries (the collection *A Small Collection of British Fiction* of the
Computational Stylistics Group) and plays of Shakespeare (*tinyshakespeare*, from karpathy/char-rnn). The works are in the public
domain; two of the editions (*Joseph Andrews*, *Barry Lyndon*) also hold a later editor's introduction. `training.json` lists every
file with its SHA-256.

Lines were joined to paragraphs, typographic characters written in ASCII. The last {held_out_share:.0%} of every book was held out. What
remained, {train_tokens:,} tokens, was cut at random into passages of about eight paragraphs, each ended by `<|endoftext|>`. One
window in eight is made of a few spans of text repeated in random order, to teach copying from the context.

## Training

```
python -m data.base.train_base --corpus {corpus_arguments} {budget} \\
    --batch-tokens {batch_tokens} --learning-rate {learning_rate:g} --weight-decay {weight_decay:g} --dtype {dtype} --seed {seed}
```

| | |
| --- | --- |
| steps | {steps:,} |
| tokens seen | {tokens_seen:,} ({epochs:.1f} times the training text) |
| wall time | {training_minutes:.1f} minutes{starts_note} |
| machine | {num_cpus} CPU cores{machine_note} |
| Python | {python} |
{version_rows}

AdamW, gradients clipped to norm 1; the learning rate rises for the first 2 % of the run and falls to a twentieth along a cosine.
With `--minutes` it follows the clock, so a faster or an idle machine makes a better model out of the same command.

## Held-out text

{figures}

## Limits

It continues a sentence in the manner of its books and loses the thread after a clause. It copies little from its context: in spite of
the repeated spans, 200 held-out tokens given twice cost the weights in the repository 3.9 nats each the first time and 3.5 the second. It has no knowledge worth asking for, has never seen
an instruction, and repeats what its books say of people and nations. What it is good for: a base on which fine-tuning
shows an effect within minutes.

## Licence

The weights and the tokenizer are part of this project and under its licence, Apache-2.0. The training text is in the public domain.
"""

_FIGURES = """\
| | perplexity a token | bits a byte |
| --- | --- | --- |
| this model | {held_out_perplexity:.1f} | {held_out_bits_per_byte:.3f} |
| token frequencies alone | {unigram_perplexity:.1f} | {unigram_bits_per_byte:.3f} |

Over {held_out_tokens:,} tokens ({held_out_bytes:,} bytes) of the ends of all books, in windows of 512 tokens that do not overlap, with
the weights as they are in the file. `python -m data.base.evaluate_base --corpus {corpus_arguments}` measures it again."""


def make_card(record: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the model card as Markdown.

    Args:
        record: What `training.json` holds; without held-out figures if training has not ended.
        config: The backbone's configuration.
    """
    arguments = record["arguments"]
    names = (
        "vocabulary_size",
        "num_layers",
        "num_heads",
        "hidden_dim",
        "intermediate_dim",
        "max_sequence_length",
        "dropout",
    )
    folders = sorted({book["name"].split("/")[0] for book in record["corpus"]})
    values = {
        # The record wins: its `steps` are those taken, those of the arguments a budget or none.
        **arguments,
        **record,
        "config_rows": "\n".join(f"| `{name}` | {config[name]:g} |" for name in names),
        "version_rows": "\n".join(f"| {name} | {value} |" for name, value in record["versions"].items()),
        "corpus_sentence": f"{len(record['corpus'])} text files",
        "corpus_arguments": " ".join(folders),
        "budget": f"--steps {arguments['steps']}" if arguments["steps"] else f"--minutes {arguments['minutes']:g}",
        "epochs": record["tokens_seen"] / record["train_tokens"],
        "starts_note": f" in {record['starts']} starts, each from the last checkpoint" if record["starts"] > 1 else "",
    }
    measured = "held_out_perplexity" in record
    values["figures"] = _FIGURES.format_map(values) if measured else "Not measured: training has not ended."
    return _CARD.format_map(values)
