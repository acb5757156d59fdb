"""Let a machine with AVX-512 do what one with AVX2 would: environment variables, read when libraries are imported."""

from __future__ import annotations

import os

AVX2 = "AVX2"

WIDER = ("avx512", "avx10", "amx", "evex512")
"""How the names of features begin that an AVX2 machine lacks."""


def environment() -> dict[str, str]:
    """Variables for a new process, under which Numba, PyTorch, JAX, NumPy and OpenBLAS use AVX2 at most.

    onnxruntime knows no such setting. Without AVX2 at all, a process uses what there is.
    """
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    kept = ",".join(("+" if on and not name.startswith(WIDER) else "-") + name for name, on in features.items())
    return {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": kept,
        "RNNKIT_VECTOR_BYTES": "32",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip(),
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": disabled(),
    }


def disabled() -> str:
    """The instruction sets beyond AVX2 that NumPy was built for and this machine has."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    wide = [name for name in __cpu_dispatch__ if name.startswith(("AVX512", "X86_V4")) and __cpu_features__.get(name)]
    return " ".join(wide)
