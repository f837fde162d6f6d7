"""What transformers makes of exported folders; run by the Python of an environment with torch and transformers.

    python peer_transformers.py OUT.json FOLDER...

Each folder may hold `request.json`: `{"token_ids": [[...], ...]}`, or `{"texts": [...], "num_new_tokens": N}`. For each, OUT.json
gets the weights' names and shapes, what of them transformers missed or did not expect, logits, and for texts their ids and the
greedy continuation. With `--golden` the numbers are made short, to be kept beside the tests.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers


def describe(folder: Path, *, is_golden: bool) -> dict[str, Any]:
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager", dtype="auto"
    )
    model.eval()
    request = json.loads((folder / "request.json").read_text())
    found: dict[str, Any] = {
        "class": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "problems": {name: sorted(map(str, keys)) for name, keys in report.items() if keys},
        "tensors": {name: list(tensor.shape) for name, tensor in sorted(list_saved(model).items())},
    }
    if "token_ids" in request:
        with torch.no_grad():
            logits = model(torch.tensor(request["token_ids"])).logits.float()
        # Two positions late in each text: what is before them has gone into them.
        found["logits"] = [[[round(x, 5) for x in place] for place in text[-2:]] for text in logits.tolist()]
    if "texts" in request:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        found["texts"] = [complete(model, tokenizer, text, request["num_new_tokens"]) for text in request["texts"]]
    if not is_golden and "chat" in request:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        found["chat"] = tokenizer.apply_chat_template(request["chat"], tokenize=False, add_generation_prompt=True)
    return found


def list_saved(model: Any) -> dict[str, Any]:
    """Weights as `save_pretrained` writes them: tied ones once."""
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def complete(model: Any, tokenizer: Any, text: str, num_new_tokens: int) -> dict[str, Any]:
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits.float()[0, -1]
        output = model.generate(**inputs, do_sample=False, max_new_tokens=num_new_tokens)
    new = output[0, inputs["input_ids"].shape[1] :].tolist()
    return {
        "token_ids": inputs["input_ids"][0].tolist(),
        "logits": logits.tolist(),
        "new_token_ids": new,
        "completion": tokenizer.decode(new, skip_special_tokens=True),
    }


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--golden"]
    is_golden = len(arguments) < len(sys.argv) - 1
    out, *folders = arguments
    found: dict[str, Any] = {Path(name).name: describe(Path(name), is_golden=is_golden) for name in folders}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    Path(out).write_text(json.dumps({"versions": versions, "models": found}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main()
