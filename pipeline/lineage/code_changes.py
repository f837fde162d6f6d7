"""Compares the code of two runs: commits, uncommitted changes, and which nodes ran other code."""

import re
from collections.abc import Iterator
from dataclasses import replace

from components.provenance import run_git
from pipeline.lineage.changes import Change, make_change
from pipeline.lineage.graph import get_properties
from pipeline.lineage.sides import Side

_UNKNOWN = "unknown"
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
# Nodes hold it as a parameter of its own, or inside of one that is JSON, or JSON in JSON.
_CODE_HASH = re.compile(r'code_hash\\*": *\\*"([0-9a-f]{64})')


def compare_code(left: Side, right: Side) -> Iterator[Change]:
    """Yields what differs."""
    for name in ("code_version", "code_dirty", "code_sha256"):
        values = [_get(side, name) for side in (left, right)]
        if not all(values) or (change := make_change(name, *values)) is None:
            continue
        yield replace(change, note=_count_commits(*values)) if name == "code_version" else change
    hashes = [_find_hashes(side) for side in (left, right)]
    changed = [node for node, value in hashes[0].items() if hashes[1].get(node, value) != value]
    if changed:
        yield Change(key="nodes with other code", before=None, after=", ".join(changed))


def _get(side: Side, name: str) -> str:
    recorded = side.run.get(name) or (get_properties(side.model).get(name) if side.model else None)
    return "" if recorded in (None, _UNKNOWN) else str(recorded)


def _find_hashes(side: Side) -> dict[str, str]:
    """Returns the hash of the code that each node ran, or whose result it took over."""
    hashes = {}
    for node, execution_id in side.executions.items():
        recorded = get_properties(side.graph.executions[execution_id])
        texts = [str(recorded["code_hash"])] if "code_hash" in recorded else []
        texts += [match[1] for value in recorded.values() if (match := _CODE_HASH.search(str(value)))]
        if texts:
            hashes[node] = texts[0]
    return hashes


def _count_commits(before: str, after: str) -> str:
    """Returns how many commits lie between two; "" where git or one of them is not there."""
    if not all(_COMMIT.fullmatch(commit) for commit in (before, after)):
        return ""
    counted = run_git("rev-list", "--left-right", "--count", f"{before}...{after}")
    if counted is None:
        return ""
    back, ahead = map(int, counted.split())
    words = [
        f"{count:,} commit{'' if count == 1 else 's'} {way}"
        for count, way in ((ahead, "later"), (back, "back"))
        if count
    ]
    return " and ".join(words)
