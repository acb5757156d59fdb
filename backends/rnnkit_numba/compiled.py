"""How functions are compiled (`kernel`) and which of them are kept on disk (`entry`).

Numba's own cache looks at the file of the cached function alone, and would run yesterday's code after an edit
in any other file of this package. Here the name of an entry's cache file carries a digest of all of them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import types
from numba.core import config as untyped_config
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder

from rnnkit.errors import BackendError

config: Any = untyped_config

if config.DISABLE_JIT:
    raise BackendError(
        "backend 'numba' needs Numba to compile, and NUMBA_DISABLE_JIT in the environment forbids it: its kernels call "
        "the processor's own instructions; unset NUMBA_DISABLE_JIT, or use backend='numpy', which is Python to step "
        "through"
    )

VECTOR_BYTES = "RNNKIT_VECTOR_BYTES"
"""Environment variable: bytes of a vector, instead of what the processor has; read once, at import."""

# Strict IEEE arithmetic: no fastmath, and a fused multiply-add only where `fma` is written. A kernel is
# compiled once for each entry that calls it, and the linker may pick any of the copies: strictness makes all of
# them give the same bits, compiled now or read from disk, and keeps NaN and infinity what they are.
# With NumPy's error model a division by zero gives infinity, not a branch that keeps the loop scalar.
# No kernel makes an array or outlives its arguments, so that arrays need no counting of their users (`_nrt`): each
# view would cost two locked instructions, as many as a row of a small layer for every window.
OPTIONS: dict[str, Any] = {"fastmath": False, "error_model": "numpy", "_nrt": False}

# Without the wrappers through which Python and C would call; a seventh of the compile time goes with them.
INTERNAL: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def check_index(context: Any, builder: Any, indices: Any, lengths: Any, last: Any) -> None:
    """Under NUMBA_BOUNDSCHECK, raise IndexError where `last` numbers from an index on leave their array."""
    if not config.BOUNDSCHECK:
        return
    spans = [1] * (len(indices) - 1) + [last]
    for index, length, span in zip(indices, lengths, spans, strict=True):
        end = builder.add(index, index.type(span) if isinstance(span, int) else span)
        outside = builder.or_(builder.icmp_signed("<", index, index.type(0)), builder.icmp_signed(">", end, length))
        with builder.if_then(outside, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a pointer leaves its array",))


class PartLibrary(JITCodeLibrary):
    """The code of a kernel, which is optimised and made machine code as a part of the entries that call it.

    Numba would do both for every kernel by itself, too, which nobody calls: half of the time to compile an entry.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return none, 0: a part has no machine code of its own."""
        return 0

    @property
    def codegen(self) -> Any:
        """Numba asks here for `set_env`, with the Python objects that a function uses: a kernel has none."""
        return self

    def set_env(self, env_name: str, env: Any) -> None:
        """Keep no Python objects."""


class PartCompiler(CompilerBase):
    """Numba's usual compiler, which puts its code into a `PartLibrary`."""

    def define_pipelines(self) -> list[Any]:
        """The passes that compile a kernel."""
        state: Any = self.state
        state.library = PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(state)]


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that other compiled functions call, once for the types of its arguments.

    Numba would take every constant that a caller writes for a type of its own: a quarter of the time to compile.
    """
    dispatcher = specialised(function)
    find = dispatcher.get_call_template  # asked for each call that is compiled, with the types of what is given
    dispatcher.get_call_template = lambda args, kws: find(
        tuple(types.unliteral(a) for a in args), {name: types.unliteral(a) for name, a in kws.items()}
    )
    return dispatcher


def specialised(function: Callable[..., Any]) -> Any:
    """Compile a function that other compiled functions call, anew for every constant that one of them writes."""
    return numba.njit(pipeline_class=PartCompiler, **OPTIONS, **INTERNAL)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function of a few numbers or vectors that always becomes part of its caller."""
    return numba.njit(pipeline_class=PartCompiler, forceinline=True, **OPTIONS, **INTERNAL)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls and that releases its lock; the machine code is kept on disk."""
    dispatcher: Any = numba.njit(nogil=True, **OPTIONS)(function)
    try:
        dispatcher._cache = PackageCache(dispatcher.py_func)
    except RuntimeError:  # no folder that can be written: compile in every process
        dispatcher._cache = NoCache(dispatcher.py_func.__name__)
    return dispatcher


def compiled_for(dispatcher: Any, arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """The machine code of an entry that has been called with arguments of these types, to call with no others.

    An entry itself finds out the types of its arguments at every call, which takes longer than the call.
    """
    return dispatcher.get_overload(tuple(dispatcher.typeof_pyval(argument) for argument in arguments))


class CheckedFile(IndexDataCacheFile):
    """Numba's files, which say whose code they hold and end with a digest of what stands before it.

    Machine code that is damaged, or that of another function or of other types, is never run.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep the code of a function for a key, which names its types."""
        super().save(key, (self._owner(key), data))

    def load(self, key: Any) -> Any:
        """The code for a key, or None.

        Raises:
            ValueError: the file is damaged, or that of other code.
        """
        found = super().load(key)
        if found is None:
            return None
        owner, data = found
        if owner != self._owner(key):
            raise ValueError(f"{self._index_name} has the code of {owner}")
        return data

    def _owner(self, key: Any) -> str:
        return f"{self._index_name}: {key}"

    def _dump(self, obj: Any) -> bytes:
        content = super()._dump(obj)
        return content + hashlib.sha256(content).digest()

    def _load_data(self, name: str) -> Any:
        content, size = Path(self._data_path(name)).read_bytes(), hashlib.sha256().digest_size
        if hashlib.sha256(content[:-size]).digest() != content[-size:]:
            raise ValueError(f"{name} is damaged")
        return super()._load_data(name)


class PackageCache(FunctionCache):
    """Numba's cache of one function, valid for exactly these sources; a damaged file is compiled anew."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._wait = Wait(function.__name__)
        digest = source_digest(Path(__file__).parent)
        self._cache_file = CheckedFile(
            cache_path=self.cache_path,
            filename_base=f"{self._impl.filename_base}-{digest}",
            source_stamp=(self._impl.locator.get_source_stamp(), digest),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature, or None: not there, or not readable."""
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged index may raise anything
            self._discard()
            found = None
        if found is None:
            self._wait.begin(sig, "once on this machine (rnnkit warmup compiles all ahead)")
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function; where the disk is full or read-only the next process compiles again."""
        self._wait.end()
        try:
            super().save_overload(sig, data)
        except OSError:
            self._discard()

    def _discard(self) -> None:
        Path(self._cache_file._index_path).unlink(missing_ok=True)


class NoCache(NullCache):
    """Stands for a cache where no folder can be written: compiles in every process, and says so."""

    def __init__(self, name: str) -> None:
        self._wait = Wait(name)

    def load_overload(self, sig: Any, target_context: Any) -> None:
        """Report that somebody waits, as nothing is kept."""
        self._wait.begin(sig, "in every process, as none of their folders can be written; set NUMBA_CACHE_DIR")

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Report that the wait is over, and keep nothing."""
        self._wait.end()


class Wait:
    """Reports on stderr that an entry is being compiled, and how long it took."""

    def __init__(self, name: str) -> None:
        self._name, self._dtype, self._began = name, "", 0.0

    def begin(self, argument_types: Any, how_often: str) -> None:
        """Print that an entry is being compiled, and note when that began."""
        names = {str(array.dtype) for array in arrays_among(argument_types)} & {"float32", "float64"}
        self._dtype = "float32" if "float32" in names else "".join(names)
        self._began = time.perf_counter()
        if self._dtype:
            self._say(f"compiling {self._name} for {self._dtype}, {how_often} ...")

    def end(self) -> None:
        """Print how long compilation took."""
        if self._dtype:
            self._say(f"{self._name} for {self._dtype} took {time.perf_counter() - self._began:.1f} s to compile")

    def _say(self, text: str) -> None:
        print(f"rnnkit: {text}", file=sys.stderr, flush=True)


def arrays_among(given: Any) -> Iterator[Any]:
    """The types of all arrays among types of arguments, those inside tuples included."""
    for kind in given:
        if isinstance(kind, types.BaseTuple):
            yield from arrays_among(kind)
        elif isinstance(kind, types.Array):
            yield kind


@cache
def source_digest(folder: Path) -> str:
    """Sixteen hexadecimal digits for all sources of a folder and whatever else shapes their machine code."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    digest.update(f"{config.BOUNDSCHECK} {config.OPT} {os.environ.get(VECTOR_BYTES)}".encode())
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.relative_to(folder).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
