"""Does token cleaning agree with PyTorch and transformers? Losses, influence and kept tokens, one by one.

The two stacks live in two environments, so there are two halves and a folder between them. `export` runs the product: its
tokenizer, its TokenScorer, its cut in a Transform pass; `compare` needs requirements-parity.txt and imports nothing of the
project. It loads the same weights into `GPT2LMHeadModel`, computes everything anew, and fails if the results differ.

    python tests/benchmarks/token_cleaning_parity.py export --output FOLDER
    python tests/benchmarks/token_cleaning_parity.py compare FOLDER --output tests/benchmarks/results/token_cleaning_parity.json
    python tests/benchmarks/token_cleaning_parity.py golden FOLDER

`golden` prints the examples of tests/components/token_scorer/test_parity.py with the influence that PyTorch computes.
"""

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    """Parses the command line and runs one of the halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="half", required=True)
    half = commands.add_parser("export", help="score and cut with the product")
    half.add_argument("--preset", default="data/base/tiny_gpt2_en")
    half.add_argument("--reference", help="preset of the reference model; by default it is trained for a few steps")
    half.add_argument("--data", default="data/sample/instructions.jsonl")
    half.add_argument("--columns", default="instruction=instruction,input=input,output=output")
    half.add_argument("--rows", type=int, default=400)
    half.add_argument("--max-length", type=int, default=96)
    half.add_argument("--keep", type=float, default=0.6)
    half.add_argument("--batch-size", type=int, default=32)
    half.add_argument("--output", type=Path, required=True)
    half.set_defaults(run="export")
    half = commands.add_parser("compare", help="compute everything anew in PyTorch")
    half.add_argument("folders", type=Path, nargs="+", help="outputs of `export`")
    half.add_argument("--output", type=Path, required=True)
    half.set_defaults(run="compare")
    half = commands.add_parser("golden", help="print the examples of the unit test")
    half.add_argument("folder", type=Path, help="an output of `export`")
    half.set_defaults(run="golden")
    arguments = parser.parse_args()
    # Each half is imported where its stack is.
    if arguments.run == "export":
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        from parity_export import export

        export(arguments)
        return 0
    import parity_compare

    return (parity_compare.compare if arguments.run == "compare" else parity_compare.print_golden)(arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
