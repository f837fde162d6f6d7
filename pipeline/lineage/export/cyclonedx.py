"""A model's bill of materials (CycloneDX ML-BOM): the model, its card, and all that it was made of and with.

The same store gives the same bytes, as long as the preset's folder and the lock of this checkout stay as they are.
"""

from collections.abc import Iterable
from typing import Any

from pipeline.lineage.export import components
from pipeline.lineage.export.canonical import to_canonical
from pipeline.lineage.export.components import Component
from pipeline.lineage.export.formulation import find_end, make_formulation
from pipeline.lineage.export.identifiers import PROJECT, make_uuid
from pipeline.lineage.export.model_card import make_model_card
from pipeline.lineage.export.packages import LOCK_NAME, Package, parse_lock, read_lock
from pipeline.lineage.export.schemas import CYCLONEDX_VERSION, check_bom
from pipeline.lineage.graph import Run, Trace

Bom = dict[str, Any]
_Edges = dict[str, list[str]]


def make_bom(trace: Trace) -> Bom:
    """Returns the bill of materials of a model, checked against CycloneDX' schema.

    Raises:
        SchemaMismatchError: It does not fit the schema.
    """
    presets = components.make_presets(trace)
    data = [components.make_data(file) for file in trace.data]
    configurations = [components.make_configuration(run) for run in trace.runs if run.config]
    code = [components.make_code(run) for run in trace.runs]
    packages, edges, incomplete = _make_packages(trace.runs)
    parts = _drop_repeated([*presets, *data, *configurations, *code, *packages])
    edges[components.MODEL_REF] = [part["bom-ref"] for part in (*presets, *data, *configurations, *code)]
    refs = [components.MODEL_REF, *(part["bom-ref"] for part in parts)]
    bom: Bom = {
        "bomFormat": "CycloneDX",
        "specVersion": CYCLONEDX_VERSION,
        "version": 1,
        "metadata": {
            "timestamp": _find_time(trace),
            "tools": {"components": [{"type": "application", "name": PROJECT}]},
            "component": components.make_model(trace, make_model_card(trace)),
        },
        "components": parts,
        "dependencies": [_make_dependency(ref, edges.get(ref, []), refs) for ref in refs],
        "formulation": make_formulation(trace),
    }
    if incomplete:
        bom["compositions"] = [{"aggregate": "incomplete", "dependencies": incomplete}]
    # From the content, so that it is the same for the same bill, and another one for another bill of the same model.
    bom["serialNumber"] = f"urn:uuid:{make_uuid('bom', to_canonical(bom).decode())}"
    check_bom(bom)
    return bom


def _make_packages(runs: Iterable[Run]) -> tuple[list[Component], _Edges, list[str]]:
    """Returns locks and packages, what needs what, and the code whose packages are not known."""
    found: list[Component] = []
    edges: _Edges = {}
    incomplete = []
    for run in runs:
        code = components.make_code_ref(run)
        if run.lock_sha256 in ("", "unknown"):
            incomplete.append(code)
            continue
        text = read_lock(run.lock_sha256, run.code_version.removesuffix("-dirty"))
        lock = _make_lock(run.lock_sha256, is_listed=text is not None)
        listed = parse_lock(text) if text is not None else []
        found += [lock, *(_make_package(package) for package in listed)]
        edges.setdefault(code, []).append(lock["bom-ref"])
        edges[code] += [_make_purl(package) for package in listed if package.is_direct]
        _add_edges(edges, listed)
        if text is None:
            incomplete.append(code)
    return found, edges, sorted(set(incomplete))


def _add_edges(edges: _Edges, packages: list[Package]) -> None:
    purls = {package.name: _make_purl(package) for package in packages}
    for package in packages:
        for name in package.required_by:
            if name in purls:
                edges.setdefault(purls[name], []).append(_make_purl(package))


def _make_lock(sha256: str, is_listed: bool) -> Component:
    facts = {
        "packages": "listed as components of their own"
        if is_listed
        else f"not listed: neither this checkout nor the run's commit has a {LOCK_NAME} with this hash"
    }
    return {
        "type": "file",
        "bom-ref": f"lock:{sha256}",
        "name": LOCK_NAME,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "properties": components.make_properties(facts),
    }


def _make_package(package: Package) -> Component:
    purl = _make_purl(package)
    return {"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}


def _make_purl(package: Package) -> str:
    from packageurl import PackageURL

    return PackageURL("pypi", None, package.name, package.version).to_string()


def _make_dependency(ref: str, needed: list[str], refs: list[str]) -> dict[str, Any]:
    known = sorted(set(needed) & set(refs) - {ref})
    return {"ref": ref} | ({"dependsOn": known} if known else {})


def _drop_repeated(parts: list[Component]) -> list[Component]:
    found: dict[str, Component] = {}
    for part in parts:
        found.setdefault(part["bom-ref"], part)
    return list(found.values())


def _find_time(trace: Trace) -> str:
    return max(find_end(step) for step in trace.steps)
