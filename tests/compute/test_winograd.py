"""Winograd's convolutions against float64, and against the library's own rounding errors."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from src.base.errors import InputError
from src.compute import winograd
from src.compute.runtime import REFERENCE, Runtime, RuntimeParams, start_runtime
from src.compute.winograd import F4, WHOLE_2, Algorithm, Conv3x3, Convolution, faster
from src.images.batches import shuffled
from src.networks.vgg import VGG
from src.training.run import Run
from tests.conftest import FORMAT, PARAMS, coloured_squares

WINOGRAD = REFERENCE.model_copy(update={"convolution": "winograd"})
CPU = torch.device("cpu")
# The layers of VGG: channels in and out, and pixels at 32 and at 224 pixels.
VGG_LAYERS = [
    (channels, width, pixels * scale)
    for channels, width, pixels in [
        *((64, 64, 32), (64, 128, 16), (128, 128, 16), (128, 256, 8), (256, 256, 8), (256, 512, 4)),
        *((512, 512, 4), (512, 512, 2)),
    ]
    for scale in (1, 7)
]
ODD = [
    (1, 1, 1, 1, 1),
    (3, 1, 520, 5, 3),
    (2, 520, 1, 4, 6),
    (5, 7, 9, 1, 40),
    (2, 16, 24, 40, 37),
    (7, 33, 65, 2, 2),
    (2, 10, 10, 2, 3),
    (0, 4, 4, 8, 8),
]


def values(count: int, channels: int, width: int, height: int, across: int, seed: int = 0) -> list[Tensor]:
    """Images as after a ReLU, weights, bias, and the gradient of the output, float32."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(count, channels, height, across, generator=draw).relu()
    weight = torch.randn(width, channels, 3, 3, generator=draw) * math.sqrt(2 / (9 * channels))
    bias, gradient = torch.randn(width, generator=draw), torch.randn(count, width, height, across, generator=draw)
    layout = torch.channels_last
    return [images.to(memory_format=layout), weight.to(memory_format=layout), bias, gradient]


def library(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(images, weight, bias, padding=1)


def results(function: object, images: Tensor, weight: Tensor, bias: Tensor, gradient: Tensor) -> list[Tensor]:
    """The output, and the gradients of images, weights and bias."""
    inputs = [tensor.clone().requires_grad_() for tensor in (images, weight, bias)]
    output = function(*inputs)  # type: ignore[operator]
    return [output.detach(), *torch.autograd.grad(output, inputs, gradient)]


def errors(function: object, given: list[Tensor], sizes: list[Tensor] | None = None) -> list[float]:
    """Root mean square errors, divided by the root mean squares of the exact values, or of `sizes`."""
    exact = results(library, *(tensor.double() for tensor in given))
    found = results(function, *given)
    assert [tensor.shape for tensor in found] == [tensor.shape for tensor in exact]
    return [
        float((one.double() - other).norm() / size.norm()) if size.numel() else 0.0
        for one, other, size in zip(found, exact, sizes or exact, strict=True)
    ]


def worst_error(given: list[Tensor]) -> float:
    """The largest error, divided by the results for the absolute values of all inputs.

    Where terms of both signs cancel, the exact value is small, and its rounding error is not.
    """
    sizes = results(library, *(tensor.double().abs() for tensor in given))
    return max(errors(Convolution.apply, given, sizes))


@pytest.mark.parametrize(("channels", "width", "pixels"), VGG_LAYERS)
def test_layers_of_vgg(channels: int, width: int, pixels: int) -> None:
    count = 1 if pixels > 28 else 6 if pixels > 4 else 20
    given = values(count, channels, width, pixels, pixels)
    found, usual = errors(Convolution.apply, given), errors(library, given)
    assert max(found) < 4e-6
    assert all(error < 20 * other for error, other in zip(found, usual, strict=True)), (found, usual)


@pytest.mark.parametrize(("count", "channels", "width", "height", "across"), ODD)
def test_odd_shapes(count: int, channels: int, width: int, height: int, across: int) -> None:
    assert worst_error(values(count, channels, width, height, across)) < 4e-6


@given(
    count=st.integers(1, 4),
    channels=st.integers(1, 40),
    width=st.integers(1, 40),
    height=st.integers(1, 17),
    across=st.integers(1, 17),
    chunk=st.integers(0, 20),
)
def test_any_shape_in_chunks_of_any_size(
    count: int, channels: int, width: int, height: int, across: int, chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "CHUNK", 2**chunk)
        assert worst_error(values(count, channels, width, height, across)) < 4e-6


def test_many_chunks() -> None:
    """The weights are fewer numbers than a chunk, so that there are several of them, of rows and of images."""
    given = values(5, 16, 24, 30, 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "CHUNK", 1)
        parts = list(winograd.chunks(F4, given[0].shape, torch.empty(36, 16, 24)))
        assert len({some.start for some, _ in parts}) > 1
        assert len({rows.start for _, rows in parts}) > 1
        assert worst_error(given) < 4e-6


@pytest.mark.parametrize(("how", "zeros"), [(F4, 0), (WHOLE_2, 1)])
def test_the_matrices_filter(how: Algorithm, zeros: int) -> None:
    """Section 4 of the paper in one dimension: outputs ((weights w) * (inputs x)) is x filtered with w."""
    x, w = torch.randn(how.tile + 2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    if zeros:
        x[0] = x[-1] = 0
    inputs, weights, outputs = (matrix.double() for matrix in how)
    expected = torch.stack([(x[i : i + 3] * w).sum() for i in range(how.tile)])
    torch.testing.assert_close(outputs @ ((weights @ w) * (inputs @ x)), expected, rtol=0, atol=1e-6)


def test_the_same_bytes_whatever_was_in_memory() -> None:
    given, others = values(6, 64, 72, 14, 14), values(3, 80, 64, 17, 5, seed=1)
    first = results(Convolution.apply, *given)
    results(Convolution.apply, *others)
    for memory in winograd._memory.values():
        memory.fill_(math.nan)
    assert all(map(torch.equal, first, results(Convolution.apply, *given)))


def test_other_memory_layouts() -> None:
    images, weight, bias, gradient = values(3, 16, 8, 9, 9)
    expected = results(Convolution.apply, images, weight, bias, gradient)
    assert all(
        map(
            torch.equal, expected, results(Convolution.apply, *map(Tensor.contiguous, (images, weight, bias, gradient)))
        )
    )
    assert expected[0].is_contiguous(memory_format=torch.channels_last)


def test_inference_before_training() -> None:
    winograd._memory.clear()
    given = values(16, 64, 128, 8, 8)
    with torch.inference_mode():
        output = Convolution.apply(*given[:3])
    assert torch.equal(output, results(Convolution.apply, *given)[0])


@pytest.mark.parametrize(
    ("shape", "width", "expected"),
    [
        ((256, 3, 32, 32), 64, False),  # conv1_1: too few channels
        ((256, 64, 32, 32), 64, True),
        ((64, 512, 4, 4), 512, True),
        ((63, 512, 4, 4), 512, False),  # too few tiles for so many weights
        ((16, 512, 2, 2), 512, True),
        ((15, 512, 2, 2), 512, False),
        ((1, 512, 28, 28), 512, False),
        ((1, 512, 29, 29), 512, True),
        ((0, 512, 28, 28), 512, False),  # a process without a part in a small batch
    ],
)
def test_the_rule(shape: tuple[int, ...], width: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: False)
    assert faster(torch.Size(shape), width) == expected


@pytest.mark.parametrize(
    ("avx512", "training", "expected"), [(False, True, True), (False, False, False), (True, True, False)]
)
def test_layers_of_64_channels(monkeypatch: pytest.MonkeyPatch, avx512: bool, training: bool, expected: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: avx512)
    with torch.set_grad_enabled(training):
        assert faster(torch.Size((256, 64, 32, 32)), 64) == expected
        assert faster(torch.Size((256, 64, 16, 16)), 128)


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({}, True),
        ({"convolution": "winograd"}, True),
        ({"convolution": "library"}, False),
        ({"precision": "bf16"}, False),
        ({"compile": True}, False),
    ],
)
def test_where_it_is_used(monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], used: bool) -> None:
    monkeypatch.setattr("src.compute.runtime._check_compiler", lambda _device: None)
    runtime = start_runtime(RuntimeParams.model_validate(REFERENCE.model_dump() | {"convolution": "auto"} | changes))
    network = runtime.place(VGG("C", classes=10, image_size=32))
    layers = {layer.winograd for layer in network.modules() if isinstance(layer, Conv3x3)}
    assert layers == {used}
    Runtime(CPU, torch.float32, compile=False).place(network)
    assert not any(layer.winograd for layer in network.modules() if isinstance(layer, Conv3x3))


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"compile": True}])
def test_where_it_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]) -> None:
    monkeypatch.setattr("src.compute.runtime._check_compiler", lambda _device: None)
    with pytest.raises(InputError, match=r"params.yaml: runtime.convolution: 'winograd': it needs a CPU, fp32"):
        start_runtime(WINOGRAD.model_copy(update=changes))


def test_a_run_goes_on_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is kept between steps is missing in a state."""
    used = []

    def spy(shape: torch.Size, width: int) -> bool:
        used.append(faster(shape, width))
        return used[-1]

    monkeypatch.setattr(winograd, "faster", spy)
    runtime = start_runtime(WINOGRAD)
    batches = list(shuffled(coloured_squares(64), 16, PARAMS.augment, seed=0, epoch=1))

    def new_run() -> Run:
        return Run(runtime.place(PARAMS.build("A", FORMAT)), PARAMS, runtime)

    def steps(run: Run, numbers: range) -> None:
        for number in numbers:
            torch.manual_seed(number)
            run.step(*batches[number])

    whole, first = new_run(), new_run()
    steps(whole, range(4))
    steps(first, range(2))
    state = copy.deepcopy(first.state_dict())
    winograd._memory.clear()
    rest = new_run()
    rest.load_state_dict(state)
    steps(rest, range(2, 4))
    assert sum(used) == 8 * 5  # eight steps; not in conv1_1, conv4_1 and conv4_2
    assert all(map(torch.equal, whole.network.parameters(), rest.network.parameters()))
