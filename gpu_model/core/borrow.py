"""Arrays without an owner inside kernels: the caller keeps them alive, so kernels need not count references.

Numba counts references to every array argument of every call, atomically; in calls of a few nanoseconds
that is most of the time.
"""

from typing import Any

from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def _borrowed(typing_context, array):
    """The same array without its owner. It must not outlive the kernel call that borrowed it."""

    def generate(context, builder, signature, arguments):
        structure = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=arguments[0])
        structure.meminfo = cgutils.get_null_value(structure.meminfo.type)
        return structure._getvalue()

    return array(array), generate


borrowed: Any = _borrowed
