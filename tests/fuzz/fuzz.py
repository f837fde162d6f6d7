"""Looks for inputs that the product cannot take: mutates them, guided by the code that they reach (atheris, libFuzzer).

    python tests/fuzz/fuzz.py TARGET [--seconds 1800] [--seed 1] [--work FOLDER]

Targets: records, configuration, template, lineage, store (see fuzz_targets/). The search goes on after a finding: what is found is
written to FOLDER/TARGET/found, one input for each kind of failure, with its traceback, and is counted at the end. FOLDER/TARGET/corpus
keeps what has reached new code, so that a later search begins there. A failure that is mended belongs into tests/fuzz/cases/.

The exit code is 1 if anything was found.
"""

import argparse
import contextlib
import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(ROOT))
os.environ["HF_HUB_OFFLINE"] = "1"  # a handle in a configuration must not be asked for

with atheris.instrument_imports(
    include=["components", "configs", "pipeline", "jinja2", "yaml"], enable_loader_override=False
):
    import fuzz_targets

MAX_BYTES = 1 << 14
_SECONDS_OF_ONE = 60
_MIB_OF_ALL = 6000


class Search:
    """Tries inputs, and keeps one of each kind that fails."""

    def __init__(self, target: fuzz_targets.Target, folder: Path, seconds: float, close: Callable[[], None]):
        self._target, self._folder, self._seconds, self._close = target, folder, seconds, close
        self.inputs = 0
        self.kinds: dict[str, int] = {}
        self._started = self._told = time.monotonic()

    def try_input(self, data: bytes) -> None:
        """Tries one."""
        self.inputs += 1
        try:
            self._target(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._keep(data, error)
        now = time.monotonic()
        if now - self._started > self._seconds:
            self._end()
        if now - self._told > 60:
            self._told = now
            print(
                f"{now - self._started:.0f} s: {self.inputs:,} inputs, {len(self.kinds)} kinds of failure", flush=True
            )

    def _end(self) -> None:
        """libFuzzer would end the process at once, without what is to be said and without the exit code."""
        print(f"{self.inputs:,} inputs in {self._seconds:.0f} s, {len(self.kinds)} kinds of failure")
        for kind, count in sorted(self.kinds.items(), key=lambda item: -item[1]):
            print(f"{count:>8,}  {kind}")
        sys.stdout.flush()
        self._close()
        os._exit(1 if self.kinds else 0)

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = [f"{Path(f.filename).name}:{f.name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        kind = f"{type(error).__name__} in {frames[-1]} below {next((f for f in reversed(frames) if 'targets' not in f), '')}"
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self.kinds[kind] > 1:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest()[:16]
        (self._folder / name).write_bytes(data)
        (self._folder / f"{name}.txt").write_text(
            f"{kind}\n{''.join(traceback.format_exception(error))}", "utf-8", "replace"
        )
        print(f"found: {kind}: {str(error)[:200]!r} ({name})", flush=True)


def write_word(word: str) -> str:
    """Returns a word as libFuzzer's dictionaries have it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'


def main() -> None:
    """Searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=fuzz_targets.TARGETS)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "fuzz")
    arguments = parser.parse_args()
    work = arguments.work.resolve() / arguments.target
    corpus = work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    stack = contextlib.ExitStack()
    target = stack.enter_context(fuzz_targets.open_target(arguments.target))
    for seed in target.list_seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = work / "words"
    words.write_text("\n".join(map(write_word, target.list_words())) + "\n", encoding="utf-8")
    search = Search(target, work / "found", arguments.seconds, stack.close)
    options = [
        sys.argv[0], str(corpus), f"-seed={arguments.seed}", f"-dict={words}", f"-max_len={MAX_BYTES}",
        f"-timeout={_SECONDS_OF_ONE}", f"-rss_limit_mb={_MIB_OF_ALL}", f"-artifact_prefix={work}/", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup(options, search.try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
