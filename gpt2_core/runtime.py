"""Where the model runs: device, number format, threads, memory, and a description of the machine for measured numbers."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

DTYPES = {
    "auto": torch.float32,  # sums that must be exact are exact only here, and the checkpoints are float32
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}
MPS_TOLERANCE = 1e-3


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device to run on: "auto", "cpu", "cuda", "cuda:1", "mps", or a torch.device.

    "auto" takes CUDA where there is one, then Apple's MPS if a small model gives the CPU's logits there, else the CPU.
    Raises ValueError for an unknown name and for a device this machine does not have.
    """
    if device == "auto":
        return _best_device()
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"Unknown device {device!r}; expected auto, cpu, cuda, cuda:<number> or mps.") from error
    if resolved.type == "cuda":
        _check_cuda(resolved)
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("Device 'mps' was asked for, but this machine or this PyTorch has no MPS; use 'cpu' or 'auto'.")
    elif resolved.type not in ("cpu", "mps"):
        raise ValueError(f"Device {device!r} is not supported; expected auto, cpu, cuda, cuda:<number> or mps.")
    return resolved


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available() and self_test("mps") <= MPS_TOLERANCE:
        return torch.device("mps")
    return torch.device("cpu")


def _check_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        raise ValueError(
            f"Device '{device}' was asked for, but PyTorch sees no CUDA GPU here; use 'cpu' or 'auto', "
            "or install a CUDA build of PyTorch."
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ValueError(f"Device '{device}' was asked for, but this machine has {count} CUDA GPU(s), numbered from 0.")


@torch.no_grad()
def self_test(device: str | torch.device) -> float:
    """Run a small random model on `device` and on the CPU: the largest difference of their logits (inf for NaN).

    Early MPS releases computed some operations wrongly without an error; a number decides, not a version.
    """
    from gpt2_core.config import GPT2Config
    from gpt2_core.model import GPT2

    config = GPT2Config(n_layers=2, n_heads=2, d_model=32, n_ctx=32, d_vocab=128)
    model = GPT2(config)
    random = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)
    tokens = torch.randint(0, config.d_vocab, (2, config.n_ctx), generator=random)
    expected = model(tokens)
    got = model.to(device)(tokens.to(device)).cpu()
    return (got - expected).abs().nan_to_num(nan=torch.inf).max().item()


def resolve_dtype(dtype: str | torch.dtype = "auto") -> torch.dtype:
    """The number format of the weights: "float32" ("fp32"), "bfloat16" ("bf16"), "float16" ("fp16"), "auto" (float32).

    Raises ValueError for anything else.
    """
    resolved = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if resolved not in DTYPES.values():
        raise ValueError(f"Unknown dtype {dtype!r}; expected one of {', '.join(DTYPES)}.")
    return resolved


def dtype_notice(dtype: torch.dtype, device: torch.device) -> str | None:
    """One sentence worth telling whoever chose this combination, or None.

    float16 on a CPU gives right results, but a matrix product of 64 rows took 304 ms where float32 took 6 ms (AVX-512 CPU
    without native float16 arithmetic, one thread, PyTorch 2.13).
    """
    if dtype == torch.float16 and device.type == "cpu":
        return "float16 on a CPU is right but can be fifty times slower than float32; bfloat16 or float32 is faster here."
    return None


def usable_cpus() -> int:
    """CPU cores that this process may really use: those of the machine, its affinity mask and its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0] != "max":
        count = min(count, max(1, int(quota[0]) // int(quota[1])))
    return max(1, count)


def configure_threads(n: int | None = None) -> int:
    """Set how many threads one matrix product uses, and return that number.

    None: what OMP_NUM_THREADS says, else half of the usable cores. OpenMP threads spin while they wait for each other, so
    when anything else (the web server, a browser) needs a core, as many threads as cores made a forward pass up to ten
    times slower than one thread. Setting OMP_WAIT_POLICY=PASSIVE helps too, but only before torch is first imported.
    Raises ValueError for a number below 1.
    """
    if n is None:
        asked = os.environ.get("OMP_NUM_THREADS", "")
        n = int(asked) if asked.isdigit() and int(asked) > 0 else max(1, usable_cpus() // 2)
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"The number of threads must be a whole number of at least 1, got {n!r}.")
    torch.set_num_threads(n)
    return n


def available_memory(device: str | torch.device = "cpu") -> int | None:
    """Bytes that can still be allocated on `device` (in a container: within its limit); None where the system won't say."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    known = [bytes_ for bytes_ in (_system_available(), _container_available()) if bytes_ is not None]
    return min(known) if known else None


def _system_available() -> int | None:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _container_available() -> int | None:
    groups = (  # cgroup v2, v1
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    )
    for limit_path, used_path in groups:
        limit, used = _read(limit_path).strip(), _read(used_path).strip()
        if limit.isdigit() and used.isdigit():
            return max(0, int(limit) - int(used))
    return None


def total_memory() -> int | None:
    """Bytes of main memory of the machine; None where the system won't say."""
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def describe_machine() -> dict[str, Any]:
    """What a measured number must carry to mean something: processor, cores, threads, memory, GPU, versions (JSON-ready)."""
    return {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cpus(),
        "threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "memory_bytes": total_memory(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def _cpu_name() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str:
    """The text of a small system file; "" where the system has no such file."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
