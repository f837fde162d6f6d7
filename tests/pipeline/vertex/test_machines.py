import pytest

from pipeline.vertex.machines import ACCELERATORS, CPU_MACHINES, TPUS, find_machine_problems, find_tpu


@pytest.mark.parametrize(
    ("machine", "accelerator", "count", "topology", "region"),
    [
        ("n1-standard-8", None, 0, None, "europe-north1"),
        ("e2-highmem-16", None, 0, None, "us-central1"),
        ("n1-standard-8", "NVIDIA_TESLA_T4", 4, None, "europe-west4"),
        ("n1-highmem-96", "NVIDIA_TESLA_V100", 8, None, "us-west1"),
        ("g2-standard-12", "NVIDIA_L4", 1, None, "us-central1"),
        ("g2-standard-96", "NVIDIA_L4", 8, None, "us-east4"),
        ("a2-megagpu-16g", "NVIDIA_TESLA_A100", 16, None, "us-central1"),
        ("a2-ultragpu-4g", "NVIDIA_A100_80GB", 4, None, "europe-west4"),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8, None, "us-east5"),
        ("a3-megagpu-8g", "NVIDIA_H100_MEGA_80GB", 8, None, "us-west4"),
        ("a3-ultragpu-8g", "NVIDIA_H200_141GB", 8, None, "us-south1"),
        ("ct5lp-hightpu-4t", None, 0, "2x2", "us-west1"),
        ("ct6e-standard-8t", None, 0, "2x4", "us-east5"),
        (None, "NVIDIA_L4", 4, None, "us-west1"),
        (None, None, 0, None, "us-west1"),
    ],
)
def test_what_is_listed_has_no_problems(machine, accelerator, count, topology, region):
    assert find_machine_problems(machine, accelerator, count, topology, region) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("g2-standard-13", None, 0, None, "us-central1"), [("machine_type", "Did you mean `g2-standard-")]),
        (("g2-standard-12", None, 0, None, "us-central1"), [("accelerator_type", "must be NVIDIA_L4, with accelerator_count 1")]),
        (("e2-standard-4", None, 2, None, "us-central1"), [("accelerator_type", "must name the accelerator")]),
        (("n1-standard-8", "NVIDIA_TESLA_T5", 1, None, "us-central1"), [("accelerator_type", "`NVIDIA_TESLA_T4`?")]),
        (("n1-standard-8", "TPU_V5_LITEPOD", 1, None, "us-central1"), [("accelerator_type", "machine_type and tpu_topology")]),
        (("n1-standard-8", "NVIDIA_TESLA_T4", 3, None, "us-central1"), [("accelerator_count", "1 or 2 or 4 for NVIDIA_TESLA_T4")]),
        (("n1-standard-32", "NVIDIA_TESLA_V100", 2, None, "us-central1"), [("accelerator_count", "4 or 8 for")]),
        (("g2-standard-24", "NVIDIA_L4", 1, None, "us-central1"), [("accelerator_count", "must be 2 for NVIDIA_L4")]),
        (("a3-highgpu-8g", "NVIDIA_TESLA_A100", 8, None, "us-central1"), [("machine_type", "a2-highgpu-1g, a2-highgpu-2g")]),
        # Listed for serving there, not for training.
        (("g2-standard-12", "NVIDIA_L4", 1, None, "europe-west1"), [("accelerator_type", "not available for training in europe-west1")]),
        (
            ("a3-highgpu-8g", "NVIDIA_H100_80GB", 7, None, "us-east1"),
            [("accelerator_type", "GPUs of us-east1: NVIDIA_TESLA_T4, NVIDIA_TESLA_V100, NVIDIA_L4"), ("accelerator_count", "must be 8")],
        ),
        (("n1-standard-8", None, 0, "2x2", "us-central1"), [("tpu_topology", "is for TPU machines (ct5lp-hightpu-1t")]),
        (
            ("ct5lp-hightpu-4t", "NVIDIA_L4", 1, "4x4", "europe-west4"),
            [("tpu_topology", "must be 2x2"), ("accelerator_type", "must be left out"), ("machine_type", "us-central1, us-east1, us-west1, us-west4")],
        ),
        (("ct5lp-hightpu-1t", None, 0, None, "us-central1"), [("tpu_topology", "must be 1x1")]),
        ((None, "NVIDIA_L4", 16, None, "us-central1"), [("accelerator_count", "must be 1 or 2 or 4 or 8 for NVIDIA_L4 (")]),
    ],
)  # fmt: skip
def test_everything_else_says_what_is_listed(given, expected):
    found = find_machine_problems(*given)
    assert [key for key, _ in found] == [key for key, _ in expected]
    for (_, message), (_, part) in zip(found, expected, strict=True):
        assert part in message


def test_the_names_are_those_of_the_api():
    from google.cloud.aiplatform_v1.types import AcceleratorType

    assert set(ACCELERATORS) <= set(AcceleratorType.__members__)


def test_the_table_is_as_large_as_the_documentation():
    n1 = {"n1-standard-4", "n1-highmem-2", "n1-highcpu-16", "n1-standard-96", "n1-highmem-96", "n1-highcpu-96"}
    assert n1 <= ACCELERATORS["NVIDIA_TESLA_T4"].counts.keys()
    assert len(ACCELERATORS["NVIDIA_TESLA_T4"].counts) == 17
    assert len(CPU_MACHINES) == len(set(CPU_MACHINES)) == 80
    assert [len(tpu.topologies) for tpu in TPUS.values()] == [3, 3]
    assert find_tpu("ct6e-standard-1t") == "TPU v6e"
    assert find_tpu("n1-standard-8") is find_tpu(None) is None
