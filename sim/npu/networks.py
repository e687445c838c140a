"""Matrix products of networks, for inference and for training.

A convolution is the product of its windows with its kernels; attention is two products a head. In training every
product C = A B^T has two more, of C's gradient with B and with A.

Sources of the shapes: ResNet-18, He et al. 2016 (arXiv 1512.03385), table 1; ViT-B/16, Dosovitskiy et al. 2021
(arXiv 2010.11929), table 1, images of 224 x 224.
"""

from collections.abc import Callable

from hw.npu import Product, Window


def resnet18(batch: int) -> list[Product]:
    """All convolutions and the classifier."""
    layers = [_convolution("conv1", batch, 3, 64, 224, 7, 2, 3)]
    size, before = 56, 64
    for stage, channels in enumerate((64, 128, 256, 512), 2):
        for block in (1, 2):
            stride = 2 if stage > 2 and block == 1 else 1
            name = f"conv{stage}_{block}"
            layers.append(_convolution(f"{name}a", batch, before, channels, size, 3, stride, 1))
            if stride == 2:
                layers.append(_convolution(f"{name} shortcut", batch, before, channels, size, 1, 2, 0))
            size, before = size // stride, channels
            layers.append(_convolution(f"{name}b", batch, channels, channels, size, 3, 1, 1))
    return [*layers, Product("classifier", batch, 1000, 512)]


def vit_base(batch: int) -> list[Product]:
    """Patches, twelve layers, the classifier."""
    width, heads, tokens, depth, hidden = 768, 12, 197, 12, 3072
    rows, features = batch * tokens, width // heads
    return [
        Product("patches", batch * (tokens - 1), width, 16 * 16 * 3),
        Product("queries, keys, values", rows, 3 * width, width, depth),
        Product("scores", tokens, tokens, features, batch * heads * depth),
        Product("mixture", tokens, features, tokens, batch * heads * depth),
        Product("output", rows, width, width, depth),
        Product("widening", rows, hidden, width, depth),
        Product("narrowing", rows, width, hidden, depth),
        Product("classifier", batch, 1000, width),
    ]


NETWORKS: dict[str, Callable[[int], list[Product]]] = {"resnet18": resnet18, "vit_base": vit_base}


def training(products: list[Product]) -> list[Product]:
    """The products themselves, and the two of each one's backward pass; the first layer needs no input gradient."""
    found = []
    for number, work in enumerate(products):
        found.append(work)
        if number:
            found.append(Product(f"{work.name}, gradient of input", work.m, work.k, work.n, work.count))
        found.append(Product(f"{work.name}, gradient of weights", work.n, work.k, work.m, work.count))
    return found


def _convolution(
    name: str, batch: int, channels: int, outputs: int, size: int, kernel: int, stride: int, padding: int
) -> Product:
    out = (size + 2 * padding - kernel) // stride + 1
    window = Window(channels, kernel, stride, size + 2 * padding, out)
    return Product(name, batch * out * out, outputs, channels * kernel**2, window=window)
