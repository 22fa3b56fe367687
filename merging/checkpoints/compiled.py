"""Loops that numba compiles once per machine, and the two that others are made of.

They run without the interpreter's lock, so that as many blocks are worked on as there are cores.

Numba keeps the machine code of a function until the file that the function stands in changes. What it calls
or reads of another file is compiled into it, and a change there is not seen: `scale` and `add_scaled` are in
the code of `merging.kernels`, `merging.sparse_kernels` and `merging.checkpoints.adapter`, and much of
`merging.kernels`, with `hashed` of `merging.noise`, is in that of `merging.sparse_kernels`. Whoever changes
one of them removes the files `*.nbi` and `*.nbc` in the `__pycache__` folders of `merging`.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
from numba import extending, njit, types

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _leave_out_blas() -> None:
    """Have numba load its functions of arrays without scipy.linalg, which takes as long as all of the rest.

    It imports that to see whether there is a BLAS, which no loop here calls. For loops of others it says as
    before that there is one: they import it where they are compiled.
    """
    if "scipy.linalg" in sys.modules or find_spec("scipy") is None:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    try:
        from numba.np import arraymath
    finally:
        del sys.modules["scipy.linalg"]
    arraymath._HAVE_BLAS = True


_leave_out_blas()


def compiled(**options: Any) -> Callable[[_Function], _Function]:
    """Return a decorator that compiles a function of arrays, with numba's options."""

    def compile_it(function: _Function) -> _Function:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # there is no folder that the machine code could be kept in
            return njit(nogil=True, **options)(function)

    return compile_it


@extending.intrinsic
def float_of(context, bits):  # type: ignore[no-untyped-def]
    """Return the float32 that has some bits, uint32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), generate


@extending.intrinsic
def bits_of(context, number):  # type: ignore[no-untyped-def]
    """Return the bits of a float32, uint32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), generate


@compiled()
def scale(numbers: np.ndarray, factor: np.float32, out: np.ndarray) -> None:
    """Write factor · numbers, all float32."""
    for i in range(out.size):
        out[i] = numbers[i] * factor


@compiled()
def add_scaled(total: np.ndarray, numbers: np.ndarray, factor: np.float32) -> None:
    """Add factor · numbers to total, all float32, each product and each sum rounded by itself."""
    for i in range(total.size):
        total[i] += numbers[i] * factor
