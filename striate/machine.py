"""This machine: the device to compute on, the cores that may be used, the versions, the speed of a matrix product."""

from __future__ import annotations

import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from striate.errors import Signalled, UsageError

PACKAGES = ("striate", "torch", "torchvision", "numpy", "pillow", "safetensors", "altair", "vl-convert-python")


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity mask, at most what the cgroup grants (containers)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(affinity, _cgroup_quota())))


def _cgroup_quota() -> float:
    """CPUs that the cgroup grants, infinity where there is no limit."""
    folder = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else max(1.0, int(quota) / int(period))
    with suppress(OSError, ValueError):
        micros, period = ((folder / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return math.inf if int(micros) < 0 else max(1.0, int(micros) / int(period))
    return math.inf


def pick_device(device: str) -> Any:
    """The torch.device of `auto` (CUDA where there is one, then Apple's MPS, else the CPU) or of a name such as `cuda:1`.

    Raises:
        UsageError: no such device on this machine.
    """
    import torch

    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UsageError(f"there is no device {device!r}: use auto, cpu, cuda, cuda:0 or mps") from None
    if (chosen.index or 0) >= available.get(chosen.type, 0):
        here = ", ".join(kind for kind, count in available.items() if count)
        raise UsageError(f"this machine has no device {device!r} that torch can use; it has: {here}")
    return chosen


def use_cores(processes: int = 1) -> int:
    """Gives torch the usable cores, shared with as many `processes` of this machine, and returns how many.

    Denormal numbers, which are slow and useless, are flushed, and freed memory is kept for the next step.
    """
    import torch

    cores = max(1, usable_cores() // processes)
    torch.set_num_threads(cores)
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    return cores


def sleep_soon() -> None:
    """Lets threads of GNU's OpenMP that wait for each other go to sleep after 10,000 turns in place, not 300,000.

    What they wait for may be a thread that has no core because another program has it: two runs of LeNet-5 at once took 18
    times as long as one, and now take 6 times; alone 3 % is lost (bench/LOG.md). Only before torch is imported; the user's own
    GOMP_SPINCOUNT or OMP_WAIT_POLICY stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def be_deterministic() -> None:
    """Lets torch use only operations that give the same bits each time; one that has no such form is an error that names it."""
    import torch

    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # read when cuBLAS is first used; without it torch refuses
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def _keep_freed_memory() -> None:
    """Tells glibc's malloc to keep what is freed.

    By default it hands large blocks back to the system, which faults them in again page by page: 1,500 page faults in each
    step of LeNet-5 at batch 128, a quarter of its time (bench/LOG.md). Elsewhere than on glibc nothing is done.
    """
    import ctypes

    trim_threshold, mmap_threshold, largest = -1, -3, 1 << 25  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and its limit
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_threshold, largest)
    mallopt(trim_threshold, 2**31 - 1)


def speaks() -> bool:
    """Whether this process says what all ranks would say: the only one, or rank 0 of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0" or "LOCAL_WORLD_SIZE" not in os.environ


def leave(code: int) -> NoReturn:
    """Ends the process of a rank without the interpreter's clean-up, which aborts one in five: PyTorch keeps the group of the
    last DistributedDataParallel, destroyed or not, and with it threads of gloo.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it, or it is closed
            stream.flush()
    os._exit(code)


@contextmanager
def hearing() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP are raised inside as `Signalled`; a second one ends the process at once. One that is ignored,
    as under nohup, stays so. In threads, where Python allows no handlers, nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) in usual}

    def handle(number: int, frame: FrameType | None) -> None:
        for one in before:
            signal.signal(one, signal.SIG_DFL)
        raise Signalled(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def environment(device: Any) -> dict[str, object]:
    """Versions and machine, for the run."""
    import torch

    return {
        **{name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def sgemm_gflops(size: int = 2048, repeats: int = 5) -> float:
    """Billions of floating-point operations a second in a float32 matrix product on the CPU: the median of `repeats`."""
    import statistics
    import timeit

    import torch

    use_cores()
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    seconds = timeit.repeat(lambda: a @ b, repeat=repeats, number=1)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def process_start() -> float:
    """`time.perf_counter()` as it was when this process began, so that a budget covers interpreter and imports too. A clock that
    is set meanwhile changes nothing on Linux, and elsewhere never makes the time negative.
    """
    now = time.perf_counter()
    try:  # the 22nd field, in ticks since the machine was started; the second, the name, may hold spaces and brackets
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        import psutil

        age = time.time() - psutil.Process().create_time()
    return now - max(0.0, age)


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
