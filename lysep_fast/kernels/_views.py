"""Views of arrays without Numba's slicing, which is slow to compile: it allows for every slice.

Indices are neither checked nor counted from the end.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from ._jit import JIT_ENABLED

__all__ = ["part", "row"]


def _view(context: Any, builder: Any, old: Any, kind: Any, start: Any, shape: list[Any]) -> Any:
    """Emit a view of the given type and shape that begins at a position along the first axis."""
    extents = cgutils.unpack_tuple(builder, old.shape)
    strides = cgutils.unpack_tuple(builder, old.strides)
    for extent in extents[1:]:
        start = builder.mul(start, extent)
    new = context.make_array(kind)(context, builder)
    populate_array(
        new,
        data=builder.gep(old.data, [start]),
        shape=shape,
        strides=strides[len(strides) - kind.ndim :],
        itemsize=old.itemsize,
        meminfo=old.meminfo,
    )
    return impl_ret_borrowed(context, builder, kind, new._getvalue())


if JIT_ENABLED:

    @intrinsic
    def part(typing_context, array, start, stop):
        """Return ``array[start:stop]`` of a C-contiguous array."""

        def generate(context, builder, signature, args):
            old = context.make_array(array)(context, builder, args[0])
            shape = cgutils.unpack_tuple(builder, old.shape)
            shape[0] = builder.sub(args[2], args[1])
            return _view(context, builder, old, array, args[1], shape)

        return array(array, types.intp, types.intp), generate

    @intrinsic
    def row(typing_context, array, index):
        """Return ``array[index]`` of a C-contiguous matrix."""
        kind = array.copy(ndim=1)

        def generate(context, builder, signature, args):
            old = context.make_array(array)(context, builder, args[0])
            shape = cgutils.unpack_tuple(builder, old.shape)[1:]
            return _view(context, builder, old, kind, args[1], shape)

        return kind(array, types.intp), generate

else:

    def part(array, start, stop):
        """Return ``array[start:stop]``."""
        return array[start:stop]

    def row(array, index):
        """Return ``array[index]``."""
        return array[index]
