"""Devices, number formats, threads and memory of the machine at hand, and of machines imitated."""

import json
import os

import pytest
import torch

from gpt2_core import runtime


def test_cpu_is_resolved_from_string_and_object():
    assert runtime.resolve_device("cpu") == runtime.resolve_device(torch.device("cpu")) == torch.device("cpu")


def test_auto_prefers_cuda_then_a_sound_mps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.resolve_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "self_test", lambda device: 1e-5)
    assert runtime.resolve_device("auto").type == "mps"
    monkeypatch.setattr(runtime, "self_test", lambda device: 0.3)
    assert runtime.resolve_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert runtime.resolve_device("auto").type == "cpu"


@pytest.mark.parametrize("name, says", [("cuda", "no CUDA GPU"), ("cuda:1", "no CUDA GPU"), ("mps", "no MPS")])
def test_absent_devices_are_one_sentence(monkeypatch, name, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=says):
        runtime.resolve_device(name)


def test_a_gpu_number_too_high_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert runtime.resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="1 CUDA GPU"):
        runtime.resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["gpu0", "", "cuda:x", "meta", "xpu"])
def test_unknown_devices_name_the_choices(name):
    with pytest.raises(ValueError, match="expected auto, cpu, cuda"):
        runtime.resolve_device(name)


def test_self_test_sees_equal_and_broken_devices(monkeypatch):
    assert runtime.self_test("cpu") == 0.0
    from gpt2_core.model import GPT2

    whole = GPT2.to

    def broken(self, device):
        self.h[1].mlp.c_fc.bias.data += 0.5
        return whole(self, device)

    monkeypatch.setattr(GPT2, "to", broken)
    assert runtime.self_test("cpu") > runtime.MPS_TOLERANCE


@pytest.mark.parametrize(
    "name, dtype",
    [
        ("auto", torch.float32),
        ("fp32", torch.float32),
        ("float32", torch.float32),
        ("bf16", torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        ("fp16", torch.float16),
        ("float16", torch.float16),
        (torch.bfloat16, torch.bfloat16),
    ],
)
def test_dtypes(name, dtype):
    assert runtime.resolve_dtype(name) == dtype


@pytest.mark.parametrize("name", ["int8", "double", torch.float64])
def test_unknown_dtypes_name_the_choices(name):
    with pytest.raises(ValueError, match="expected one of auto, float32"):
        runtime.resolve_dtype(name)


def test_half_precision_on_a_cpu_is_noticed():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert "fifty times" in runtime.dtype_notice(torch.float16, cpu)
    assert runtime.dtype_notice(torch.float16, cuda) is None
    assert runtime.dtype_notice(torch.bfloat16, cpu) is None


def test_threads_are_half_the_usable_cores_unless_said(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(runtime, "usable_cpus", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        assert runtime.configure_threads() == torch.get_num_threads() == 3
        monkeypatch.setattr(runtime, "usable_cpus", lambda: 1)
        assert runtime.configure_threads() == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert runtime.configure_threads() == torch.get_num_threads() == 2
        assert runtime.configure_threads(1) == torch.get_num_threads() == 1
        for bad in (0, -1):
            with pytest.raises(ValueError, match="at least 1"):
                runtime.configure_threads(bad)
    finally:
        torch.set_num_threads(before)


def test_container_limits_count(monkeypatch):
    files = {
        "/sys/fs/cgroup/memory.max": "1000\n",
        "/sys/fs/cgroup/memory.current": "300\n",
        "/sys/fs/cgroup/cpu.max": "100000 100000",
    }
    monkeypatch.setattr(runtime, "_read", lambda path: files.get(path, ""))
    assert runtime.available_memory() == 700
    assert runtime.usable_cpus() == 1
    files["/proc/meminfo"] = "MemTotal: 9 kB\nMemAvailable:       0 kB\n"
    assert runtime.available_memory() == 0
    files.clear()
    assert runtime.available_memory() is None


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="the oracle is Linux's /proc")
def test_available_memory_is_below_the_total():
    assert 0 < runtime.available_memory() <= runtime.total_memory()


def test_the_description_is_json_and_names_the_machine():
    text = json.loads(json.dumps(runtime.describe_machine()))
    assert text["torch"] == torch.__version__ and text["threads"] == torch.get_num_threads()
    assert text["cores"] >= text["usable_cores"] >= 1 and text["cpu"]
