"""Runners of Apache Beam that a YAML may not name, with the reason."""

_REASONS = {
    "dask": (
        "DaskRunner is refused: with Beam 2.77 it fails where a node reads TFRecords, and where a node writes files it leaves "
        "them empty without an error. Use direct with `mode: multi_processing` on one machine, flink, spark or dataflow on "
        "several (docs/beam.md)"
    ),
    "prism": (
        "PrismRunner is refused: it is a binary that Beam downloads when it starts. Use direct, with `mode: multi_processing` "
        "for several processes (docs/beam.md)"
    ),
}


def explain_refused_runner(name: str) -> str | None:
    """Says why a runner is refused, or None if it is not one of those.

    Args:
        name: As written: a name such as `dask` or `DaskRunner`, or a class with its module.
    """
    words = name.lower().replace("_", ".").split(".")
    found = (reason for word, reason in _REASONS.items() if {word, f"{word}runner"} & set(words))
    return next((f"{reason}. Received: {name!r}." for reason in found), None)
