"""Let a machine with wider instructions do what one with AVX2 would: run a command with AVX2 and nothing wider.

python bench/narrow.py pytest bench --benchmark-json=bench/out.json
python bench/narrow.py python bench/cases.py step-64 --peers torch

By environment variables, which Numba, PyTorch, JAX, NumPy and OpenBLAS read when they are imported. onnxruntime reads
none, and is left out where it would use wider ones.
"""

from __future__ import annotations

import os
import sys

WIDER = ("avx512", "avx10", "amx", "evex512")
"""How the names of features begin that an AVX2 machine lacks."""


def environment() -> dict[str, str]:
    """Variables for a new process, under which libraries use AVX2 at most.

    Raises:
        SystemExit: this processor has no AVX2.
    """
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if not features.get("avx2"):
        sys.exit(f"narrow: {binding.get_host_cpu_name()} has no AVX2; leave it out")
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


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    os.execvpe(sys.argv[1], sys.argv[1:], {**os.environ, **environment()})
