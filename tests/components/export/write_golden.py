"""Writes `golden/transformers.json`: what transformers computes with the exported tiny models.

    python tests/components/export/write_golden.py --peer-python /path/to/python

The other Python has torch and transformers. To be run again when a writer or a tiny model changes.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path[:0] = [str(HERE), str(HERE.parents[2])]

GOLDEN = HERE / "golden" / "transformers.json"


def main() -> None:
    import tiny_models

    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", required=True)
    peer_python = parser.parse_args().peer_python
    with tempfile.TemporaryDirectory() as temporary:
        folders = []
        for name in tiny_models.NAMES:
            folder = Path(temporary, name)
            folder.mkdir()
            tiny_models.write(tiny_models.make_backbone(name), folder)
            (folder / "request.json").write_text(json.dumps({"token_ids": tiny_models.TOKEN_IDS.tolist()}))
            folders.append(str(folder))
        out = Path(temporary, "out.json")
        command = [peer_python, str(HERE / "peer_transformers.py"), "--golden", str(out), *folders]
        subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        found = json.loads(out.read_text())
        for folder in map(Path, folders):
            weights = (folder / "model.safetensors").read_bytes()
            config = json.loads((folder / "config.json").read_text())
            found["models"][folder.name] |= {"weights_sha256": hashlib.sha256(weights).hexdigest(), "config": config}
    lines = [
        f"{json.dumps(name)}: {json.dumps(model, separators=(',', ':'))}" for name, model in found["models"].items()
    ]
    versions = json.dumps(found["versions"])
    GOLDEN.write_text(f'{{"versions": {versions},\n"models": {{\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main()
