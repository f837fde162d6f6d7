"""Are the token ids those of transformers: in eager Python, in a graph, and from a SavedModel loaded again?

    python tests/benchmarks/token_parity.py --data ../shared/data --peer-python /path/to/python [--model FOLDER]

Texts: prose, dialogue, code, mark-up, JSON, mathematics, German, French, Chinese, and strings that tend to break things; in some of
them stand special tokens. GPT-2's vocabulary is the real one, as is that of `--model` (a folder in Hugging Face's layout). The other
families have their real rules and a vocabulary that is learned from these texts. Each family is read from a folder in Hugging Face's
layout by transformers (`AutoTokenizer`) and by the library `tokenizers`.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "components"))

import keras_hub
import small_tokenizers
import tensorflow as tf
from harness import write_report
from machine import describe_machine

from components.text.model_tokenizer import adopt_own_rules, encode_with_offsets
from components.text.sentencepiece_rules import make_sentencepiece_rules
from components.text.tokenizer_rules import GPT2, make_rules
from components.trainer.graph_tokenizer import make_graph_tokenizer

BATCH = 500
LONGEST = 2000  # characters of a text
OWN, FROM_MODEL = " (its own vocabulary)", " (from tokenizer.model)"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<start_of_turn>", "</s>", "<s>", "<bos>"]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Records of a JSON Lines file, also .gz."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def read_texts(data: Path) -> dict[str, list[str]]:
    """Texts by source."""
    found: dict[str, list[str]] = {}
    rows = read_lines(data / "dolly-15k" / "dolly.jsonl.gz")[::8]
    found["dolly-15k"] = [f"{row['instruction']}\n\n{row['context']}\n{row['response']}" for row in rows]
    found["gsm8k"] = [row["question"] + "\n" + row["answer"] for row in read_lines(data / "gsm8k" / "test.jsonl")[:600]]
    programs = read_lines(data / "humaneval" / "HumanEval.jsonl.gz")
    found["humaneval"] = [row["prompt"] + row["canonical_solution"] + row["test"] for row in programs]
    found["xquad"] = []
    for language in ("zh", "de"):
        for article in json.loads((data / "xquad" / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                found["xquad"] += [paragraph["context"], *(question["question"] for question in paragraph["qas"][:2])]
    news = read_lines(data / "ntrex" / "ntrex.jsonl")[:300]
    found["ntrex"] = [row[language] for row in news for language in ("eng", "deu", "fra")]
    found["naughty-strings"] = json.loads((data / "naughty-strings" / "blns.json").read_text(encoding="utf-8"))
    book = gzip.decompress((data / "british-fiction" / "Sterne_Tristram.txt.gz").read_bytes()).decode(
        "utf-8", "replace"
    )
    found["british-fiction"] = [book[i : i + 1500] for i in range(0, 450_000, 1500)]  # with its CRLF line ends
    found["json-test-suite"] = []
    for path in sorted((data / "json-test-suite" / "test_parsing").glob("*.json")):
        try:
            found["json-test-suite"].append(path.read_bytes().decode()[:5000])
        except UnicodeDecodeError:
            continue
    found["c4-sample"] = [row["text"] for row in read_lines(data / "c4-sample" / "c4_demo.jsonl")]
    found["taskmaster4-chat"] = [
        json.dumps(row["messages"]) for row in read_lines(data / "taskmaster4-chat" / "chat.jsonl")[:150]
    ]
    posts = json.loads((data / "stack-exchange-paired" / "stack_exchange_paired_tiny.json").read_text(encoding="utf-8"))
    found["stack-exchange-paired"] = [row[name] for row in posts for name in ("question", "response_j")]
    found["email-replies"] = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted((data / "email-replies").rglob("*"))
        if path.is_file()
    ]
    texts = [text for group in ("dolly-15k", "naughty-strings") for text in found[group][:250]]
    found["with special tokens"] = [
        text[: len(text) // 2] + SPECIAL[i % len(SPECIAL)] + text[len(text) // 2 :] for i, text in enumerate(texts)
    ]
    return found


def make_folders(root: Path, data: Path, model: Path | None, texts: list[str]) -> dict[str, Any]:
    """Writes a folder for each family; returns KerasHub's tokenizers with the same rules, as this project loads them."""
    small_tokenizers.read_texts = lambda: texts[:: max(len(texts) // 2500, 1)]
    tokenizers = {}
    for name in small_tokenizers.BYTE_LEVEL:
        tokenizer, rules = small_tokenizers.make_byte_level(name, root / name, vocabulary_size=8000)
        _write_folder(root / name, rules)
        tokenizers[name] = tokenizer
    for name in small_tokenizers.SENTENCEPIECE:
        tokenizer = small_tokenizers.make_sentencepiece(name, root / name, vocabulary_size=6000)
        path = root / name / "hugging_face" / "tokenizer.json"
        own = make_sentencepiece_rules(tokenizer.proto)
        _write_folder(root / name, json.loads(path.read_text(encoding="utf-8")) if path.exists() else own)
        tokenizers[name] = tokenizer
        if kind := {"gemma": "GemmaTokenizer", "llama": "LlamaTokenizer"}.get(name):
            # The same model, without `tokenizer.json`: by transformers' own conversion.
            other = f"{name}{FROM_MODEL}"
            tokenizers[other] = type(tokenizer)(proto=tokenizer.proto)
            _write_folder(root / other, None, kind)
            (root / other / "tokenizer.model").write_bytes(tokenizer.proto)
    vocabulary = json.loads((data / "gpt2-bpe" / "vocab.json").read_text(encoding="utf-8"))
    merges = [m for m in (data / "gpt2-bpe" / "merges.txt").read_text(encoding="utf-8").splitlines()[1:] if m]
    tokenizers[f"gpt2{OWN}"] = keras_hub.tokenizers.GPT2Tokenizer(vocabulary=vocabulary, merges=merges)
    rules = make_rules(GPT2, vocabulary, merges, ["<|endoftext|>"], prefix_space=False)
    _write_folder(root / f"gpt2{OWN}", rules)
    if model:
        rules = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = rules["model"]["vocab"] | {token["content"]: token["id"] for token in rules["added_tokens"]}
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in rules["model"]["merges"]]
        tokenizers[f"{model.name}{OWN}"] = keras_hub.tokenizers.BytePairTokenizer(vocabulary=vocabulary, merges=merges)
        _write_folder(root / f"{model.name}{OWN}", rules)
    for name, tokenizer in tokenizers.items():
        if name.endswith(FROM_MODEL):
            adopt_own_rules(tokenizer, "")  # by the SentencePiece model alone
        else:
            small_tokenizers.write_rules(
                root / name, json.loads((root / name / "tokenizer.json").read_text(encoding="utf-8"))
            )
            (root / name / "config.json").write_text(json.dumps({}))
            adopt_own_rules(tokenizer, root / name)
            (root / name / "config.json").write_text(json.dumps({"model_type": "tokenizer_only"}))
    return tokenizers


def _write_folder(folder: Path, rules: dict[str, Any] | None, kind: str = "PreTrainedTokenizerFast") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if rules:
        (folder / "tokenizer.json").write_text(json.dumps(rules, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, "legacy": False}))


def compare(tokenizer: Any, texts: list[str], peer: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns in how many texts the ids differ from the peers', and what it took."""
    started = time.process_time()
    eager = [[int(i) for i in tokenizer(text)] for text in texts]
    eager_seconds = time.process_time() - started
    graph = make_graph_tokenizer(tokenizer)
    graph.served = tf.function(graph.encode, input_signature=[tf.TensorSpec([None], tf.string)])
    graph.served.get_concrete_function()
    started = time.process_time()
    in_graph = _run(graph.served, texts)
    graph_seconds = time.process_time() - started
    tf.saved_model.save(graph, str(folder / "saved"))
    saved = _run(tf.saved_model.load(str(folder / "saved")).served, texts)
    decoded = [
        text.decode()
        for i in range(0, len(texts), BATCH)
        for text in tf.strings.unicode_transcode(
            graph.decode(tf.ragged.constant(eager[i : i + BATCH], dtype=tf.int32)), "UTF-8", "UTF-8", errors="replace"
        ).numpy()
    ]
    found: dict[str, Any] = {
        "texts": len(texts),
        "tokens": sum(map(len, eager)),
        "class of transformers": peer["class"],
    }
    for name in ("transformers", "tokenizers"):
        if name in peer:
            found[f"differ from {name}"] = {
                "eager": _count(eager, peer[name]),
                "in the graph": _count(in_graph, peer[name]),
                "from the SavedModel": _count(saved, peer[name]),
            }
    found["texts decoded differently in the graph"] = _count(decoded, [tokenizer.detokenize(ids) for ids in eager])
    offsets = [encode_with_offsets(tokenizer, text) for text in texts]
    found["other ids with offsets"] = _count([ids for ids, _ in offsets], eager)
    found["CPU seconds"] = {"eager": round(eager_seconds, 2), "in the graph": round(graph_seconds, 2)}
    return found


def _run(function: Any, texts: list[str]) -> list[list[int]]:
    return [ids for i in range(0, len(texts), BATCH) for ids in function(tf.constant(texts[i : i + BATCH])).to_list()]


def _count(ours: list[Any], theirs: list[Any]) -> int:
    return sum(a != b for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--peer-python", required=True, help="Python of an environment with transformers")
    parser.add_argument("--model", type=Path, help="a model's folder in Hugging Face's layout")
    parser.add_argument("--limit", type=int, default=None, help="most texts a source")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "token_parity.json")
    options = parser.parse_args()
    groups = {
        name: [text[:LONGEST] for text in group[: options.limit]] for name, group in read_texts(options.data).items()
    }
    texts = [text for group in groups.values() for text in group]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tokenizers = make_folders(root, options.data, options.model, texts)
        (root / "texts.json").write_text(json.dumps(texts))
        script = Path(__file__).with_name("token_parity_peers.py")
        subprocess.run([options.peer_python, str(script), str(root)], check=True)
        families = {}
        for family, tokenizer in tokenizers.items():
            peer = json.loads((root / family / "peer.json").read_text())
            families[family] = compare(tokenizer, texts, peer, root / family)
            print(family, json.dumps(families[family]), flush=True)
        results = {
            "texts": {name: len(group) for name, group in groups.items()},
            "peers": json.loads((root / "versions.json").read_text()),
            "ours": describe_machine(["tensorflow-text", "tokenizers", "sentencepiece"])["packages"],
            "families": families,
        }
    write_report(results, options.output)


if __name__ == "__main__":
    main()
