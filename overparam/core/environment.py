"""What a process that we start inherits, and what it runs on.

Kept apart from torch, which whoever starts a process need not import.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

#: ``torch.set_num_threads`` leaves numpy's BLAS as it was; these rule both, if they are set before the import.
THREAD_VARIABLES: tuple[str, ...] = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ONE_THREAD: dict[str, str] = dict.fromkeys(THREAD_VARIABLES, "1")
#: Set this variable to any value to silence every progress bar, whatever ``progress`` says.
QUIET = "OVERPARAM_QUIET"


def machine() -> dict[str, str]:
    """What this process runs on: processor, cores and system."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    """The processor's name, which Linux keeps in a file and Python does not read there."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
