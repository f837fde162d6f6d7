"""The components of a bill of materials: the model and what it was made of, each in CycloneDX' form."""

import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from pipeline.lineage.export.canonical import to_text
from pipeline.lineage.export.identifiers import PROJECT
from pipeline.lineage.export.licences import read_licences
from pipeline.lineage.export.places import is_built_in, make_uri
from pipeline.lineage.graph import Artifact, DataFile, Run, Trace

Component = dict[str, Any]

MODEL_REF = "model"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUGGING_FACE = re.compile(r"hf://([^/@]+)/([^/@]+)(?:@([^/]+))?")
_MODEL_TYPES = ("Model", "PushedModel")
# Hashes of what a model is, the most telling first: of its files, else of its weights.
_CONTENT_HASHES = ("content_sha256", "tuned_hash")


def make_model(trace: Trace, model_card: dict[str, Any]) -> Component:
    """Returns the model that the bill is of.

    Args:
        trace: The model's.
        model_card: See `pipeline.lineage.export.model_card`.
    """
    recorded = trace.artifact.properties
    pushed = trace.pushed.properties if trace.pushed else {}
    facts: dict[str, Any] = {f"training:{name}": value for name, value in recorded.items()}
    facts |= {"run": trace.run.id, "artifact": trace.artifact.id, "uri": trace.artifact.uri}
    hashes = ((name, str(of.get(name, ""))) for name in _CONTENT_HASHES for of in (pushed, recorded))
    known = [(name, content) for name, content in hashes if _SHA256.fullmatch(content)]
    if known:
        facts["hash:of"] = known[0][0]
    component: Component = {
        "type": "machine-learning-model",
        "bom-ref": MODEL_REF,
        "name": trace.run.pipeline_name or PROJECT,
        "version": str(pushed.get("pushed_version", trace.run.id)),
        "modelCard": model_card,
        "properties": make_properties(facts),
    }
    component |= _make_hashes(*(content for _, content in known))
    if base := find_base(trace):
        component["pedigree"] = {
            "ancestors": [{"type": "machine-learning-model", "name": base} | _hash_start(trace, base)]
        }
    if place := pushed.get("pushed_destination"):
        component["externalReferences"] = [{"type": "distribution", "url": make_uri(str(place))}]
    return component


def find_base(trace: Trace) -> str:
    """Returns what was tuned: a preset, or the model that training went on from; empty if that is not recorded."""
    recorded = trace.artifact.properties
    return str(recorded.get("started_from") or recorded.get("preset", ""))


def make_presets(trace: Trace) -> list[Component]:
    """Returns the presets that the model rests on: the one that was tuned, and the references of token cleaning.

    Models that were trained on the way are artifacts, and not among them.
    """
    own = [artifact.uri for step in trace.steps for artifact in step.outputs if artifact.uri]
    recorded = [a.properties for a in (*trace.token_cleaning, *(a for step in trace.steps for a in step.outputs))]
    base = str(trace.artifact.properties.get("preset", ""))
    references = sorted({str(of.get("reference", "")) for of in recorded} - {"", base})
    presets = [_make_preset(base, "the tuned model's base", _hash_start(trace, base))] if base else []
    outside = [name for name in references if not any(name.startswith(uri) for uri in own)]
    return presets + [_make_preset(name, "the reference of token cleaning", {}) for name in outside]


def make_preset_ref(preset: str) -> str:
    """Returns the reference of a preset's component."""
    return f"preset:{preset}"


def make_data(file: DataFile) -> Component:
    """Returns a data file."""
    uri = make_uri(file.path)
    facts = {f"rows:{word.replace(' ', '_')}": count for word, count in file.rows.items()}
    facts |= {f"rows:split:{split}": count for split, count in file.rows_by_split.items()}
    name = posixpath.basename(file.path.rstrip("/")) or file.path or "data"
    component: Component = {
        "type": "data",
        "bom-ref": make_data_ref(file),
        "name": name,
        "data": [{"type": "dataset", "name": name} | ({"contents": {"url": uri}} if uri else {})],
    }
    if facts:
        component["properties"] = make_properties(facts)
    return component | _make_hashes(file.sha256)


def make_data_ref(file: DataFile) -> str:
    """Returns the reference of a data file's component."""
    return f"data:{file.sha256}:{file.path}"


def make_code(run: Run) -> Component:
    """Returns this project's own code, as a run has recorded it."""
    facts: dict[str, Any] = {} if run.code_dirty is None else {"uncommitted-changes": run.code_dirty}
    commit = run.code_version.removesuffix("-dirty")
    component: Component = {"type": "application", "bom-ref": make_code_ref(run), "name": PROJECT}
    if run.code_version != "unknown":
        component["version"] = run.code_version
    if _COMMIT.fullmatch(commit):
        component |= {"swhid": [f"swh:1:rev:{commit}"], "pedigree": {"commits": [{"uid": commit}]}}
    if facts:
        component["properties"] = make_properties(facts)
    return component | _make_hashes(run.code_sha256)


def make_code_ref(run: Run) -> str:
    """Returns the reference of the component of a run's code."""
    dirty = "-dirty" if run.code_dirty and not run.code_version.endswith("-dirty") else ""
    return ":".join(filter(None, ("code", run.code_version + dirty, run.code_sha256)))


def make_configuration(run: Run) -> Component:
    """Returns the configuration of a run, with its text."""
    attachment = {"contentType": "application/yaml", "content": run.config}
    name = run.config_path or "configuration"
    return {
        "type": "data",
        "bom-ref": make_configuration_ref(run),
        "name": name,
        "data": [{"type": "configuration", "name": name, "contents": {"attachment": attachment}}],
    } | _make_hashes(hashlib.sha256(run.config.encode()).hexdigest())


def make_configuration_ref(run: Run) -> str:
    """Returns the reference of the component of a run's configuration."""
    return f"configuration:{run.id}"


def make_artifact(artifact: Artifact) -> Component:
    """Returns something that was made on the way."""
    return {
        "type": "machine-learning-model" if artifact.type in _MODEL_TYPES else "data",
        "bom-ref": make_artifact_ref(artifact),
        "name": artifact.type,
        "properties": make_properties({"artifact": artifact.id, "uri": artifact.uri}),
    } | _make_hashes(*(str(artifact.properties[n]) for n in _CONTENT_HASHES if artifact.properties.get(n)))


def make_artifact_ref(artifact: Artifact) -> str:
    """Returns the reference of an artifact's component."""
    return f"artifact:{artifact.id}"


def make_properties(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns facts as CycloneDX' properties, by name, below the project's name."""
    return [{"name": f"{PROJECT}:{name}", "value": to_text(facts[name])} for name in sorted(facts)]


def _make_preset(preset: str, role: str, hashes: dict[str, Any]) -> Component:
    component: Component = {
        "type": "machine-learning-model",
        "bom-ref": make_preset_ref(preset),
        "name": preset,
        "description": f"Preset, {role}",
    }
    if match := _HUGGING_FACE.fullmatch(preset):
        from packageurl import PackageURL

        component["purl"] = PackageURL("huggingface", match[1], match[2], match[3]).to_string()
    elif not is_built_in(preset):
        component["externalReferences"] = [{"type": "distribution", "url": make_uri(preset)}]
    if licences := read_licences(preset):
        component["licenses"] = licences
    return component | hashes


def _hash_start(trace: Trace, preset: str) -> dict[str, Any]:
    """Returns the hash of the weights of what a training has started from, which each training has recorded."""
    trained = [trace.artifact, *(a for step in trace.steps for a in step.outputs if a.type == "Model")]
    started = (a.properties for a in trained if a.properties.get("started_from", a.properties.get("preset")) == preset)
    return _make_hashes(*(str(recorded["base_hash"]) for recorded in started if recorded.get("base_hash")))


def _make_hashes(*contents: str) -> dict[str, Any]:
    """Returns the first that is a hash: a store of an older version may hold other text."""
    found = next(filter(_SHA256.fullmatch, contents), None)
    return {"hashes": [{"alg": "SHA-256", "content": found}]} if found else {}
