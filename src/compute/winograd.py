"""3 x 3 convolutions with fewer multiplications, by Winograd's minimal filtering, in float32 on a CPU.

Lavin & Gray (2015), arXiv:1509.09308. The output is cut into tiles of m x m. A tile needs (m + 2)^2 products for each
pair of channels instead of 9 m^2: 36 instead of 144 for m = 4. Small matrices carry a tile of the input and the weights
to `points` x `points` numbers each. One matrix product for each of these points sums over the channels, and another
small matrix carries the sums to the tile of the output. The result is that of a convolution, up to rounding.

Two things decide the speed. The work is done in chunks that the processor's cache can hold. And memory is used again:
to get new memory from the system takes longer than to fill it.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 2**22
"""Numbers of transformed tiles that are computed at a time."""


class Algorithm(NamedTuple):
    """Matrices with `outputs @ ((weights @ w) * (inputs @ x))` = [sum over k of w[k] x[i + k], for i in 0..m-1]."""

    inputs: Tensor  # [points, m + 2]
    weights: Tensor  # [points, 3]
    outputs: Tensor  # [m, points]

    @property
    def tile(self) -> int:
        """m: height and width of a tile of the output, in pixels."""
        return len(self.outputs)


def matrix(text: str) -> Tensor:
    return torch.tensor([[float(number) for number in row.split()] for row in text.split(",")], device="cpu")


F4 = Algorithm(  # F(4 x 4, 3 x 3), section 4.3
    inputs=matrix("4 0 -5 0 1 0, 0 -4 -4 1 1 0, 0 4 -4 -1 1 0, 0 -2 -1 2 1 0, 0 2 -1 -2 1 0, 0 4 0 -5 0 1"),
    weights=matrix("6 0 0, -4 -4 -4, -4 4 -4, 1 2 4, 1 -2 4, 0 0 24") / 24,
    outputs=matrix("1 1 1 1 1 0, 0 1 -1 2 -2 0, 0 1 1 4 4 0, 0 1 -1 8 -8 1"),
)
WHOLE_2 = Algorithm(  # an image of 2 x 2 pixels. All around it is zero, so three points are enough: 9 products, not 36
    inputs=matrix("0 1 1 0, 0 0 1 0, 0 1 0 0"),
    weights=matrix("0 1 0, 0 -1 1, 1 -1 0"),
    outputs=matrix("1 1 0, 1 0 1"),
)


def algorithm(images: Tensor) -> Algorithm:
    return WHOLE_2 if images.shape[2:] == (2, 2) else F4


class Conv3x3(nn.Conv2d):
    """A 3 x 3 convolution of [N, C, H, W] that keeps the size of the images: stride 1, a border of one pixel of zeros.

    Attributes:
        winograd: whether to use Winograd's algorithm where it is faster. `Runtime.place` sets it.
    """

    winograd = False

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, kernel_size=3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        if self.winograd and faster(images.shape, self.out_channels):
            return Convolution.apply(images, self.weight, self.bias)  # type: ignore[no-any-return]
        return super().forward(images)


def faster(shape: torch.Size, width: int) -> bool:
    """Whether Winograd's algorithm is faster than the library for images [N, C, H, W] and `width` channels of output.

    A rule, not a timing, so that each run on a machine computes the same bytes. It was measured on two cores of Zen 4,
    with AVX2 and with AVX-512 (docs/benchmarks.md). With few tiles, most time goes into transforming the weights. With
    few channels, most time goes into transforming the tiles. Then only the backward pass gains. With AVX-512 not even
    that gains, because there the library is faster.
    """
    count, channels, height, width_in = shape
    if (height, width_in) == (2, 2):
        enough = count >= 16
    else:
        enough = count * -(-height // F4.tile) * -(-width_in // F4.tile) >= 64
    backward = torch.is_grad_enabled() and not torch.cpu._is_avx512_supported()
    return enough and channels * width >= 64 * (64 if backward else 128)


class Convolution(torch.autograd.Function):
    """A 3 x 3 convolution with stride 1 and a border of one pixel of zeros."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The convolution of images [N, C, H, W] with weights [K, C, 3, 3], plus the bias [K]: [N, K, H, W].

        All are float32 on the CPU. The result is channels last.
        """
        ctx.save_for_backward(images, weight)
        how, pixels = algorithm(images), last_channels(images)
        weights = transformed_weights(how.weights, weight).permute(1, 2, 0)  # [points^2, C, K]
        result = empty(len(images), len(weight), *images.shape[2:])
        targets = last_channels(result)
        for some, rows in chunks(how, images.shape, weights):
            tiles = load(how.inputs, pixels[some], rows, border=1)
            store(how.outputs, products(tiles, weights), targets[some], rows, bias)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the images is a convolution of `gradient` with the weights turned by 180 degrees.

        The gradient of the weights is a convolution of the same tiles of `gradient` with tiles of the images. Here the
        m x m pixels of the images are the filter, and the 3 x 3 weights are the result. So the matrices change roles.
        """
        images, weight = ctx.saved_tensors
        how, pixels, gradients = algorithm(images), last_channels(images), last_channels(gradient)
        turned, filters = how.weights.flip(1), how.outputs.T.contiguous()
        weights = transformed_weights(turned, weight).transpose(0, 1)  # [points^2, K, C]
        of_images = empty(*images.shape)
        targets = last_channels(of_images)
        sums = scratch("sums", *weights.shape).zero_()
        for some, rows in chunks(how, gradient.shape, weights):
            tiles = load(how.inputs, gradients[some], rows, border=1)
            store(how.outputs, products(tiles, weights), targets[some], rows)
            others = load(filters, pixels[some], rows, border=0, name="others")
            torch.baddbmm(sums, tiles.permute(1, 2, 0), others.transpose(0, 1), out=sums)
        of_weight = torch.mm(both_sides(turned).T, sums.flatten(1)).view(3, 3, *weight.shape[:2]).permute(2, 3, 0, 1)
        return of_images, of_weight.contiguous(memory_format=torch.channels_last), gradient.sum((0, 2, 3))


def chunks(how: Algorithm, shape: torch.Size, weights: Tensor) -> Iterator[tuple[slice, range]]:
    """Images of [N, C, H, W], and rows of tiles in them, that are computed together.

    They follow from the shapes alone, so the order of all sums is the same in each run. Each chunk reads all
    transformed weights [points^2, C, K], so it is not smaller than these.
    """
    count, _, height, width = shape
    rows = -(-height // how.tile)
    row = len(weights) * -(-width // how.tile) * max(weights.shape[1:])  # numbers of a row of tiles of one image
    size = max(1, max(CHUNK, weights.numel()) // row)  # rows at a time
    for top in range(0, rows, step := max(1, size // max(1, count))):
        for first in range(0, count, size):
            yield slice(first, first + size), range(top, min(top + step, rows))


def load(side: Tensor, pixels: Tensor, rows: range, *, border: int, name: str = "tiles") -> Tensor:
    """side @ x @ side.T for each tile x of some rows of tiles, of images [N, H, W, C]: [tiles, points^2, C].

    The order of the tiles is that of `store`: by column, row and image.

    Args:
        border: how far a tile reaches over its m x m pixels on each side. Outside the image all is zero.
        name: of the memory for the result.
    """
    points, length = side.shape
    tile = length - 2 * border
    count, height, width, channels = pixels.shape
    # From the left for whole rows of pixels, which need not be copied for it. A zero needs no product.
    left = scratch("half", len(rows), count, points, width * channels)
    for row, target in zip(rows, left, strict=True):
        inside, used = overlap(row * tile - border, length, height)
        torch.bmm(side[:, used].expand(count, -1, -1), pixels[:, inside].flatten(2), out=target)
    lines = left.view(-1, width, channels)
    result = scratch(name, -(-width // tile), len(lines), points, channels)
    for column, target in enumerate(result):
        inside, used = overlap(column * tile - border, length, width)
        torch.bmm(side[:, used].expand(len(lines), -1, -1), lines[:, inside], out=target)
    return result.view(-1, points**2, channels)


def products(tiles: Tensor, weights: Tensor) -> Tensor:
    """The sums over channels at each point: [tiles, points^2, C] and [points^2, C, K] to [points^2, tiles, K]."""
    result = scratch("products", len(weights), len(tiles), weights.shape[2])
    return torch.bmm(tiles.transpose(0, 1), weights, out=result)


def store(side: Tensor, sums: Tensor, pixels: Tensor, rows: range, bias: Tensor | None = None) -> None:
    """Write side @ s @ side.T + bias for sums s [points^2, tiles, K] into some rows of tiles of images [N, H, W, K]."""
    tile, points = side.shape
    part = pixels[:, rows.start * tile : rows.stop * tile]
    count, height, width, channels = part.shape
    columns = -(-width // tile)
    sums = sums.view(points, points, -1)
    left = scratch("half", points, tile, sums.shape[2])
    torch.bmm(side.expand(points, -1, -1), sums.transpose(0, 1), out=left)
    tiles = scratch("out", tile, tile, sums.shape[2])
    torch.bmm(side.expand(tile, -1, -1), left.transpose(0, 1), out=tiles)
    whole = (height, width) == (len(rows) * tile, columns * tile)  # else tiles are cut off at the edge of the image
    target = part if whole else scratch("whole", count, len(rows) * tile, columns * tile, channels)
    places = target.view(count, len(rows), tile, columns, tile, channels)
    values = tiles.view(tile, tile, columns, len(rows), count, channels).permute(4, 3, 0, 2, 1, 5)
    if bias is None:
        places.copy_(values)
    else:
        torch.add(values, bias, out=places)
    if not whole:
        part.copy_(target[:, :height, :width])


def transformed_weights(side: Tensor, weight: Tensor) -> Tensor:
    """side @ w @ side.T for the weights w of each pair of channels of [K, C, 3, 3]: [K, points^2, C]."""
    both, width = both_sides(side), len(weight)
    result = scratch("weights", width, len(both), weight.shape[1])
    return torch.bmm(both.expand(width, -1, -1), last_channels(weight).flatten(1, 2), out=result)


def both_sides(side: Tensor) -> Tensor:
    """The matrix that turns x, row after row, into side @ x @ side.T, row after row."""
    return torch.kron(side, side)


def overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """The part in 0..size-1 of `length` places from `start`: counted from 0, and counted from `start`."""
    first, last = max(start, 0), min(start + length, size)
    return slice(first, last), slice(first - start, last - start)


def last_channels(images: Tensor) -> Tensor:
    """[N, C, H, W] as contiguous [N, H, W, C]. It is a copy only where the memory is not channels last."""
    return images.permute(0, 2, 3, 1).contiguous()


def empty(*shape: int) -> Tensor:
    return torch.empty(shape, memory_format=torch.channels_last, device="cpu")


_memory: dict[str, Tensor] = {}


def scratch(name: str, *shape: int) -> Tensor:
    """Memory with any content. The next call with this name gives the same memory."""
    size = math.prod(shape)
    if name not in _memory or len(_memory[name]) < size:
        with torch.inference_mode(False):  # tensors made in inference mode cannot be used in training
            _memory[name] = torch.empty(size, device="cpu")
    return _memory[name][:size].view(shape)
