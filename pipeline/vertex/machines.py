"""The machines and accelerators that Vertex AI documents for training, as data, and what is wrong with a choice of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.options import nearest

# As documented by Google, read on 2026-11-25:
# https://docs.cloud.google.com/gemini-enterprise-agent-platform/machine-learning/training/configure-compute (machine types,
#   numbers of GPUs, TPU topologies) and .../machine-learning/general/locations#accelerators (regions).
# Left out: NVIDIA P100, whose support ended on 2026-09-15; B200 and GB200 (a4, a4x), which are had by reservation; TPU v2
# and v3, which need a TensorFlow of their own, and TPU7x, which needs Python 3.12; TPU slices of several virtual machines,
# over which the Trainer does not spread.
AS_OF = "2026-11-25"


@dataclass(frozen=True)
class Accelerator:
    """One kind of GPU or TPU.

    Attributes:
        regions: Where it can be trained on; those where it only serves are left out.
        counts: How many of it a machine may have, by machine type. A TPU's machine has all of its chips.
        topologies: Of a TPU, by machine type.
    """

    regions: frozenset[str]
    counts: Mapping[str, tuple[int, ...]]
    topologies: Mapping[str, str]


def _gpu(regions: str, counts: Mapping[str, tuple[int, ...]]) -> Accelerator:
    return Accelerator(frozenset(regions.split()), counts, {})


def _tpu(regions: str, topologies: Mapping[str, str]) -> Accelerator:
    return Accelerator(frozenset(regions.split()), {}, topologies)


_N1_SIZES = {"standard": (4, 8, 16, 32, 64, 96), "highmem": (2, 4, 8, 16, 32, 64, 96), "highcpu": (16, 32, 64, 96)}


def _n1(*counts_by_cpus: tuple[int, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Counts by machine; each pair holds the largest number of vCPUs that some counts go with."""
    return {
        f"n1-{kind}-{size}": next(counts for cpus, counts in counts_by_cpus if size <= cpus)
        for kind, sizes in _N1_SIZES.items()
        for size in sizes
    }


_SMALL_GPU = _n1((16, (1, 2, 4)), (32, (2, 4)), (96, (4,)))
ACCELERATORS = {
    "NVIDIA_TESLA_P4": _gpu(
        "asia-southeast1 australia-southeast1 europe-west4 northamerica-northeast1 us-central1 us-east4 us-west2",
        _SMALL_GPU,
    ),
    "NVIDIA_TESLA_T4": _gpu(
        "asia-east1 asia-east2 asia-northeast1 asia-northeast3 asia-south1 asia-southeast1 asia-southeast2 "
        "australia-southeast1 europe-central2 europe-west1 europe-west2 europe-west3 europe-west4 northamerica-northeast1 "
        "southamerica-east1 us-central1 us-east1 us-east4 us-west1 us-west2 us-west4",
        _SMALL_GPU,
    ),
    "NVIDIA_TESLA_V100": _gpu(
        "asia-east1 europe-west4 us-central1 us-east1 us-west1",
        _n1((8, (1, 2, 4, 8)), (16, (2, 4, 8)), (32, (4, 8)), (96, (8,))),
    ),
    "NVIDIA_L4": _gpu(
        "asia-northeast3 asia-south1 asia-southeast1 europe-west2 europe-west4 me-central2 northamerica-northeast2 "
        "us-central1 us-east1 us-east4 us-west1",
        {
            f"g2-standard-{cpus}": (count,)
            for cpus, count in {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}.items()
        },
    ),
    "NVIDIA_RTX_PRO_6000": _gpu(
        "asia-south2 asia-southeast1 europe-west4 us-central1 us-east1 us-east4",
        {f"g4-standard-{48 * count}": (count,) for count in (1, 2, 4, 8)},
    ),
    "NVIDIA_TESLA_A100": _gpu(
        "asia-northeast3 asia-southeast1 europe-west4 me-west1 us-central1 us-east1 us-west3 us-west4",
        {f"a2-highgpu-{count}g": (count,) for count in (1, 2, 4, 8)} | {"a2-megagpu-16g": (16,)},
    ),
    "NVIDIA_A100_80GB": _gpu(
        "asia-southeast1 europe-west4 us-central1 us-east4 us-east5",
        {f"a2-ultragpu-{count}g": (count,) for count in (1, 2, 4, 8)},
    ),
    "NVIDIA_H100_80GB": _gpu(
        "asia-northeast1 asia-northeast3 asia-south1 asia-southeast1 europe-west1 europe-west2 europe-west3 europe-west4 "
        "northamerica-northeast2 us-central1 us-east4 us-east5 us-west1 us-west4",
        {f"a3-highgpu-{count}g": (count,) for count in (1, 2, 4, 8)},
    ),
    "NVIDIA_H100_MEGA_80GB": _gpu(
        "asia-east1 asia-northeast1 asia-southeast1 australia-southeast1 europe-north1 europe-west1 europe-west3 europe-west4 "
        "us-central1 us-east4 us-east5 us-west1 us-west4",
        {"a3-megagpu-8g": (8,)},
    ),
    "NVIDIA_H200_141GB": _gpu(
        "asia-south1 asia-south2 europe-west1 europe-west4 us-central1 us-east4 us-east5 us-south1 us-west1",
        {"a3-ultragpu-8g": (8,)},
    ),
}
TPUS = {
    "TPU v5e": _tpu(
        "us-central1 us-east1 us-west1 us-west4",
        {"ct5lp-hightpu-1t": "1x1", "ct5lp-hightpu-4t": "2x2", "ct5lp-hightpu-8t": "2x4"},
    ),
    "TPU v6e": _tpu(
        "asia-northeast1 europe-west4 southamerica-west1 us-central1 us-east1 us-east5 us-south1",
        {"ct6e-standard-1t": "1x1", "ct6e-standard-4t": "2x2", "ct6e-standard-8t": "2x4"},
    ),
}
_CPU_SIZES = {
    "e2-standard": (4, 8, 16, 32),
    "e2-highmem": (2, 4, 8, 16),
    "e2-highcpu": (16, 32),
    "n4-standard": (2, 4, 8, 16, 32, 48, 64, 80),
    "n4-highmem": (2, 4, 8, 16, 32, 48, 64, 80),
    "n4-highcpu": (2, 4, 8, 16, 32, 48, 64, 80),
    "n2-standard": (4, 8, 16, 32, 48, 64, 80),
    "n2-highmem": (2, 4, 8, 16, 32, 48, 64, 80),
    "n2-highcpu": (16, 32, 48, 64, 80),
    "c2-standard": (4, 8, 16, 30, 60),
    "m1-ultramem": (40, 80, 160),
    "m1-megamem": (96,),
}
CPU_MACHINES = [f"{kind}-{size}" for kind, sizes in _CPU_SIZES.items() for size in sizes]
CPU_MACHINES += [f"n1-{kind}-{size}" for kind, sizes in _N1_SIZES.items() for size in sizes]


def find_tpu(machine_type: str | None) -> str | None:
    """Returns the TPU that a machine has, such as `TPU v5e`; None for other machines."""
    return next((name for name, tpu in TPUS.items() if machine_type in tpu.topologies), None)


def find_machine_problems(
    machine_type: str | None,
    accelerator_type: str | None,
    accelerator_count: int,
    tpu_topology: str | None,
    region: str,
) -> list[tuple[str, str]]:
    """Returns what Vertex AI would refuse, as pairs of key and message.

    Args:
        machine_type: None for a step of a pipeline, whose machine Vertex AI chooses.
        accelerator_type: A GPU, by its name in Vertex AI.
        accelerator_count: How many of it one machine has; 0 without any.
        tpu_topology: Of a TPU machine.
        region: Where it is to run.
    """
    tpu = find_tpu(machine_type)
    if tpu and machine_type:
        return _find_tpu_problems(tpu, machine_type, accelerator_type or accelerator_count, tpu_topology, region)
    problems = []
    machines = [*CPU_MACHINES, *(name for gpu in ACCELERATORS.values() for name in gpu.counts)]
    is_known = machine_type is None or machine_type in machines
    if not is_known:
        every = [*machines, *(name for each in TPUS.values() for name in each.topologies)]
        near = nearest(str(machine_type), every)
        message = (
            f"must be a machine type that Vertex AI trains on (list of {AS_OF}: e2, n1, n2, n4, c2, m1, g2, g4, a2, a3, "
            f"ct5lp and ct6e machines).{near} Received: {machine_type!r}."
        )
        problems.append(("machine_type", message))
    if tpu_topology is not None:
        tpu_machines = ", ".join(name for each in TPUS.values() for name in each.topologies)
        problems.append(("tpu_topology", f"is for TPU machines ({tpu_machines}). Leave it out, or take one of these."))
    if accelerator_type is None:
        return problems + (_find_missing_problems(machine_type, accelerator_count) if is_known else [])
    return problems + _find_gpu_problems(
        machine_type if is_known else None, accelerator_type, accelerator_count, region
    )


def _find_missing_problems(machine_type: str | None, count: int) -> list[tuple[str, str]]:
    if machine_type is not None and machine_type not in CPU_MACHINES:
        need = next(
            (name, gpu.counts[machine_type]) for name, gpu in ACCELERATORS.items() if machine_type in gpu.counts
        )
        message = f"must be {need[0]}, with accelerator_count {need[1][0]}, on {machine_type}. Received: none."
        return [("accelerator_type", message)]
    if count:
        return [("accelerator_type", f"must name the accelerator of which accelerator_count asks for {count}.")]
    return []


def _find_gpu_problems(machine_type: str | None, kind: str, count: int, region: str) -> list[tuple[str, str]]:
    if kind not in ACCELERATORS:
        near, known = nearest(kind, ACCELERATORS), ", ".join(ACCELERATORS)
        hint = " A TPU is chosen by its machine_type and tpu_topology alone." if "TPU" in kind.upper() else ""
        message = f"must be one of {known} (list of {AS_OF}).{near}{hint} Received: {kind!r}."
        return [("accelerator_type", message)]
    gpu, problems = ACCELERATORS[kind], []
    if region not in gpu.regions:
        regions, here = (
            ", ".join(sorted(gpu.regions)),
            [name for name, gpu in ACCELERATORS.items() if region in gpu.regions],
        )
        message = (
            f"{kind} is not available for training in {region}. It is in {regions} (list of {AS_OF}). "
            f"GPUs of {region}: {', '.join(here) or 'none'}."
        )
        problems.append(("accelerator_type", message))
    if machine_type is not None and machine_type not in gpu.counts:
        message = f"must be one of {', '.join(gpu.counts)} for {kind} (list of {AS_OF}). Received: {machine_type!r}."
        return [*problems, ("machine_type", message)]
    counts = gpu.counts[machine_type] if machine_type else sorted({n for each in gpu.counts.values() for n in each})
    if count not in counts:
        where = f" on {machine_type}" if machine_type else ""
        message = f"must be {' or '.join(map(str, counts))} for {kind}{where} (list of {AS_OF}). Received: {count}."
        problems.append(("accelerator_count", message))
    return problems


def _find_tpu_problems(
    tpu: str, machine_type: str, accelerator: str | int | None, topology: str | None, region: str
) -> list[tuple[str, str]]:
    need, regions, problems = TPUS[tpu].topologies[machine_type], TPUS[tpu].regions, []
    if topology != need:
        message = (
            f"must be {need} on {machine_type}: training spreads over the chips of one machine. Received: {topology!r}."
        )
        problems.append(("tpu_topology", message))
    if accelerator:
        problems.append(
            ("accelerator_type", f"must be left out, and accelerator_count too: {machine_type} has its TPU.")
        )
    if region not in regions:
        where = ", ".join(sorted(regions))
        message = f"{tpu} is not available for training in {region}. It is in {where} (list of {AS_OF})."
        problems.append(("machine_type", message))
    return problems
