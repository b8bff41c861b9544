"""What a process that we start inherits: kept apart from torch, because who starts it need not import that."""

from __future__ import annotations

#: ``torch.set_num_threads`` leaves numpy's BLAS as it was; these rule both, if they are set before the import.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")
#: Set this variable to any value to silence every progress bar, whatever ``progress`` says.
QUIET = "OVERPARAM_QUIET"
