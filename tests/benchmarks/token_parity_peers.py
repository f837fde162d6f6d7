"""Token ids of texts by transformers and by `tokenizers`; for `token_parity.py`, in an environment with transformers.

    python token_parity_peers.py FOLDER

FOLDER holds `texts.json` and a folder for each family, in Hugging Face's layout. Writes `<family>/peer.json`.
"""

import json
import sys
from pathlib import Path

from machine import describe_machine
from tokenizers import Tokenizer
from transformers import AutoTokenizer


def main() -> None:
    """Writes the ids of each family."""
    root = Path(sys.argv[1])
    texts = json.loads((root / "texts.json").read_text(encoding="utf-8"))
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        found = {"class": type(tokenizer).__name__, "transformers": ids}
        if (folder / "tokenizer.json").exists():
            library = Tokenizer.from_file(str(folder / "tokenizer.json"))
            library.no_truncation()
            found["tokenizers"] = [e.ids for e in library.encode_batch(texts, add_special_tokens=False)]
        (folder / "peer.json").write_text(json.dumps(found))
    versions = describe_machine(["transformers", "tokenizers"])["packages"]
    (root / "versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main()
