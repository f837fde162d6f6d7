"""A real model from handle to answer: downloaded, tuned, judged, pushed, asked, exported; and again, after its handle has moved."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct"
SETTINGS = {
    "data.schema_path": None,
    "train.batch_size": 8,
    "train.max_steps": 4,
    "train.memory_gib": 8,
    "generation.max_new_tokens": 8,
    "evaluation.metrics": ["perplexity", "example_count"],
    "evaluation.thresholds": [{"metric": "perplexity", "min_improvement": 0.0, "against": "preset"}],
    "evaluation.min_examples": 10,
}
PROMPT = "Write the number after twelve."

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path, hub):
    """Runs `python -m pipeline`; the handle's repository lies on a server of this machine."""
    records = tmp_path / "records.jsonl"
    with (ROOT / "data" / "sample" / "instructions.jsonl").open(encoding="utf-8") as file:
        records.write_text("".join(next(file) for _ in range(200)), encoding="utf-8")
    options = [f"--set={key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    run = ["run", "configs/runs/smollm2_135m_lora.yaml", f"--set=data.path={records}", *options]

    def call(*words, expected=0):
        words = (*run, *words[1:]) if words[0] == "run" else words
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *words, "--root", str(tmp_path / "runs")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return call


@pytest.fixture
def smollm2_folder():
    path = os.environ.get("SMOLLM2_FOLDER", "")
    if not path:
        pytest.skip(
            "needs SMOLLM2_FOLDER: SmolLM2-135M-Instruct in Hugging Face's layout, made of the weights of a PyPI package (docs/models.md)"
        )
    return Path(path)


def test_from_handle_to_answer(command, hub, smollm2_folder, tmp_path):
    commit = hub.put(REPOSITORY, smollm2_folder)
    output = command("run")
    assert "Blessed: perplexity improves on the untouched preset" in " ".join(output.split())
    assert "Receipt" in output or "receipt" in output

    # What it was made from.
    shown = json.loads(command("lineage", "show", "--json"))
    text = json.dumps(shown)
    assert f"hf://{REPOSITORY}" in text
    assert commit in text

    # What was pushed answers, and so does what others can load.
    answer = command("generate", PROMPT).strip()
    assert answer
    (version,) = (tmp_path / "runs" / "serving" / "smollm2-135m-lora").glob("[0-9]*")
    exported = version / "hf"
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= {p.name for p in exported.iterdir()}
    if python := os.environ.get("PEER_PYTHON"):
        assert ask_transformers(python, exported) == answer

    # Nothing is done twice.
    asked = len(hub.requests)
    again = command("run")
    assert again.count("cached") >= 8
    assert not [r for r in hub.requests[asked:] if "model.safetensors" in r and r.startswith("GET")]

    # The publisher commits something else: the run says so, and tunes that.
    moved = tmp_path / "moved"
    shutil.copytree(smollm2_folder, moved)
    config = json.loads((moved / "generation_config.json").read_text())
    (moved / "generation_config.json").write_text(json.dumps(config | {"note": "moved"}))
    new_commit = hub.put(REPOSITORY, moved)
    assert new_commit != commit
    told = command("run", "--to", "Tokenizer")
    assert "has moved" in "".join(told.split("\n"))


def ask_transformers(python: str, folder: Path) -> str:
    script = (
        "import sys, torch, transformers as t\n"
        "tokenizer = t.AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "model = t.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)\n"
        "turns = [{'role': 'user', 'content': sys.argv[2]}]\n"
        "ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors='pt', return_dict=True)\n"
        "out = model.generate(**ids, do_sample=False, max_new_tokens=8)[0][ids['input_ids'].shape[1]:]\n"
        "print(tokenizer.decode(out, skip_special_tokens=True))\n"
    )
    done = subprocess.run(
        [python, "-c", script, str(folder), PROMPT],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()
