"""Places, as the metadata store has them, in the forms that other tools expect: URIs, and OpenLineage's names of datasets."""

import re
from urllib.parse import quote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Their names of objects have no slash in front; those of file systems do.
_OBJECT_STORES = ("gs", "s3", "hf", "kaggle")
_ALIASES = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}
_LOCAL = "file"
# Where KerasHub's built-in presets live: they have a name only.
_BUILT_IN = "keras-hub"


def is_built_in(preset: str) -> bool:
    """Returns whether a preset is one of KerasHub's own: a name, and neither a handle nor a folder."""
    return not _SCHEME.match(preset) and "/" not in preset


def make_uri(place: str) -> str:
    """Returns the URI of a place, with what URIs do not allow escaped; of a relative path, a relative reference.

    Args:
        place: A path, or an address such as `gs://bucket/folder`; any characters.
    """
    scheme, authority, path = _split(place)
    if scheme != _LOCAL:
        return f"{scheme}://{quote(authority, safe='@:')}{_quote_path(path)}"
    # A first segment with a colon would be taken for a scheme; `_quote_path` escapes it.
    return f"file://{_quote_path(path)}" if path.startswith("/") else _quote_path(path)


def name_dataset(place: str) -> tuple[str, str]:
    """Returns a place's namespace and name after OpenLineage's naming rules.

    `gs://bucket/a/b` is `a/b` in `gs://bucket`; `/data/a` is `/data/a` in `file`; `hdfs://host:9000/a` is `/a` in
    `hdfs://host:9000`.

    Args:
        place: A path or an address, not empty.
    """
    scheme, authority, path = _split(place)
    if scheme == _LOCAL:
        return _LOCAL, path
    if scheme in _OBJECT_STORES:
        path = path.strip("/")
    return f"{scheme}://{authority}", path or "/"


def name_preset(preset: str) -> tuple[str, str]:
    """Returns a preset's namespace and name: KerasHub's own ones are in `keras-hub`, others where they lie.

    Args:
        preset: A KerasHub name, a handle (`hf://...`, `kaggle://...`), or a folder.
    """
    return (_BUILT_IN, preset) if is_built_in(preset) else name_dataset(preset)


def _split(place: str) -> tuple[str, str, str]:
    match = _SCHEME.match(place)
    if match is None:
        return _LOCAL, "", place
    scheme = match[1].lower()
    authority, slash, path = place[match.end() :].partition("/")
    return (_ALIASES.get(scheme, scheme)), authority, slash + path


def _quote_path(path: str) -> str:
    return quote(path, safe="/@!$&()*+,;=~")
