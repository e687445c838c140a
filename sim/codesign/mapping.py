"""A run's tensor-core tiles as the matrix products an array would be given.

Tiles of 16 x 8 outputs that share their left operand are neighbours along n, and rows of such tiles with the same
right operands are neighbours along m: they make one product, as the kernel's own block did.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from sim.dots import Dots

Shape = tuple[int, int, int]


def products_of(dots: Iterable[Dots]) -> Counter[Shape]:
    """How many matrix products of each (m, n, k) the dot products make."""
    shapes: Counter[Shape] = Counter()
    for group in dots:
        right_of: dict[bytes, list[bytes]] = defaultdict(list)
        for a, b in zip(group.a, group.b, strict=True):
            right_of[a.tobytes()].append(b.tobytes())
        rows: Counter[tuple[bytes, ...]] = Counter(tuple(sorted(rights)) for rights in right_of.values())
        _, height, width = group.tensor_core.shape
        for rights, count in rows.items():
            shapes[height * count, width * len(rights), group.length] += 1
    return shapes
