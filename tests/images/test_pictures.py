"""Pictures of many formats and sizes as images of 32 x 32 pixels."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features
from torch import Tensor

from src.base.errors import InputError
from src.images.pictures import is_picture, read_picture

NEEDS_WEBP = pytest.mark.skipif(not features.check("webp"), reason="Pillow was built without WebP")
RED, BLUE, GREY, WHITE = (200, 30, 40), (20, 60, 220), (90, 90, 90), (255, 255, 255)


def halves(left: tuple[int, int, int] = RED, right: tuple[int, int, int] = BLUE, size: int = 64) -> Image.Image:
    """A picture whose left half has one colour and whose right half has another one."""
    image = Image.new("RGB", (size, size), left)
    image.paste(right, (size // 2, 0, size, size))
    return image


def content(image: Image.Image, form: str, **options: Any) -> bytes:
    image.save(buffer := io.BytesIO(), form, **options)
    return buffer.getvalue()


def colours(image: Tensor) -> tuple[list[int], list[int]]:
    """The colour far left and far right, in the middle row."""
    assert (image.dtype, image.shape) == (torch.uint8, (3, 32, 32))
    return image[:, 16, 2].tolist(), image[:, 16, 29].tolist()


def close(found: tuple[list[int], list[int]], left: tuple[int, ...], right: tuple[int, ...], within: int = 0) -> None:
    differences = np.abs(np.array(found) - np.array([left, right]))
    assert differences.max() <= within, found


@pytest.mark.parametrize(
    ("form", "options", "within"),
    [
        *(("PNG", {}, 0), ("BMP", {}, 0), ("TIFF", {}, 0), ("PPM", {}, 0), ("GIF", {}, 0), ("TGA", {}, 0)),
        *(("JPEG", {"quality": 95}, 4), ("JPEG", {"quality": 95, "progressive": True}, 4)),
        pytest.param("WEBP", {"lossless": True}, 0, marks=NEEDS_WEBP),
    ],
)
def test_formats(form: str, options: dict[str, Any], within: int) -> None:
    close(colours(read_picture(content(halves(), form, **options), "a")), RED, BLUE, within)


@pytest.mark.parametrize("size", [(32, 32), (33, 32), (640, 480), (48, 1000)])
def test_the_aspect_is_kept_and_the_centre_too(size: tuple[int, int]) -> None:
    """Red, a blue square in the centre as large as the shorter side, red."""
    short = min(size)
    image = Image.new("RGB", size, RED)
    left, top = ((side - short) // 2 for side in size)
    image.paste(BLUE, (left, top, left + short, top + short))
    found = read_picture(content(image, "PNG"), "a")
    inner = found[:, 2:30, 2:30].permute(1, 2, 0).float()
    assert (inner - torch.tensor(BLUE)).abs().max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (3000, 1)])
def test_the_smallest_pictures_are_enlarged(size: tuple[int, int]) -> None:
    assert torch.equal(read_picture(content(Image.new("RGB", size, RED), "PNG"), "a")[:, 5, 5], torch.tensor(RED))


def test_an_image_of_32_pixels_stays_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = read_picture(content(Image.fromarray(pixels), "PNG"), "a")
    assert torch.equal(found, torch.from_numpy(pixels).permute(2, 0, 1))


def test_a_large_picture_is_made_smaller_with_antialiasing() -> None:
    """A fine chequerboard becomes grey, not noise."""
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = read_picture(content(Image.fromarray(board), "PNG"), "a")
    assert (found.float() - 127.5).abs().max() < 3


SIXTEEN_BITS = np.repeat([[90 * 257, 65535]], 32, axis=1).repeat(64, axis=0).astype(np.uint16)
MODES: dict[str, tuple[Callable[[], bytes], tuple[int, ...], tuple[int, ...]]] = {
    "greyscale": (lambda: content(halves(GREY, WHITE).convert("L"), "PNG"), GREY, WHITE),
    "black and white": (lambda: content(halves((0, 0, 0), WHITE).convert("1"), "PNG"), (0, 0, 0), WHITE),
    "palette": (lambda: content(halves().quantize(4), "PNG"), RED, BLUE),
    "CMYK": (lambda: content(halves(GREY, WHITE).convert("CMYK"), "TIFF"), GREY, WHITE),
    "16 bits": (lambda: content(Image.fromarray(SIXTEEN_BITS), "PNG"), GREY, WHITE),
}


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_become_colours(mode: str) -> None:
    make, left, right = MODES[mode]
    close(colours(read_picture(make(), "a")), left, right, within=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    """Whatever colour lies below. A half-transparent half is mixed with white."""
    image = halves(GREY, GREY).convert("RGBA")
    alpha = Image.new("L", (64, 64), 0)
    alpha.paste(255, (32, 0, 64, 64))
    image.putalpha(alpha)
    image = image.quantize(8) if mode == "palette" else image.convert(mode)
    close(colours(read_picture(content(image, "PNG"), "a")), WHITE, GREY, within=1)


def test_a_transparent_value_of_16_bits_becomes_white() -> None:
    data = content(Image.fromarray(SIXTEEN_BITS), "PNG", transparency=90 * 257)
    close(colours(read_picture(data, "a")), WHITE, WHITE)


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (2, None), (3, 180), (6, 90), (8, 270)])
def test_a_picture_is_turned_upright(orientation: int, turned: int | None) -> None:
    upright = halves()
    stored = upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turned is None else upright.rotate(turned)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for form in ("PNG", "TIFF") if orientation != 1 else ("PNG",):
        close(colours(read_picture(content(stored, form, exif=exif), "a")), RED, BLUE)


def exif(*fields: tuple[int, int, bytes]) -> bytes:
    """An EXIF block that Pillow itself would not write: (tag, type, four bytes) each, big endian."""
    entries = b"".join(struct.pack(">HHI", tag, kind, 1) + value for tag, kind, value in fields)
    return b"Exif\0\0" + b"MM\0*" + struct.pack(">IH", 8, len(fields)) + entries + bytes(4)


QUARTER_TURN = (0x0112, 3, b"\0\6\0\0")
ODD_EXIF = {
    "a text for a resolution": exif(QUARTER_TURN, (0x011A, 2, b"x\0\0\0")),
    "a number for a maker": exif((0x010F, 11, struct.pack(">f", 1.5)), QUARTER_TURN),
    "a field that is cut": exif(QUARTER_TURN, (0x011A, 5, b"\0\0\xff\0"))[:-6],
}


@pytest.mark.parametrize("kind", ODD_EXIF)
def test_odd_fields_beside_the_orientation_do_not_matter(kind: str) -> None:
    data = content(halves(size=320).rotate(90), "JPEG", exif=ODD_EXIF[kind], quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's would have a path of its own code
        close(colours(read_picture(data, "a")), RED, BLUE, within=9)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [halves(BLUE, RED), halves(GREY, GREY)]
    data = content(halves(), "GIF", save_all=True, append_images=frames)
    close(colours(read_picture(data, "a")), RED, BLUE)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "text.txt": (lambda path: path.write_text("no picture"), "not a picture that Pillow can read"),
    "empty.png": (lambda path: path.write_bytes(b""), "not a picture that Pillow can read"),
    "cut.png": (
        lambda path: path.write_bytes(content(Image.effect_noise((90, 90), 50), "PNG")[:900]),
        r"cannot be read \(.+\)",
    ),
    "cut.jpg": (lambda path: path.write_bytes(content(halves(size=400), "JPEG")[:2000]), r"cannot be read \(.+\)"),
    "missing.png": (lambda _: None, r"cannot be read \(No such file or directory\)"),
    "folder.png": (lambda path: path.mkdir(), r"cannot be read \(Is a directory\)"),
    "photo.HEIC": (lambda path: path.write_bytes(b"ftypheic"), "Pillow does not read this format; convert it to JPEG"),
    "drawing.svg": (lambda path: path.write_text("<svg/>"), "Pillow does not read this format; it has no pixels;"),
    "document.pdf": (lambda path: halves().save(path), "not a picture that Pillow can read"),
    "drawing.eps": (lambda path: halves().save(path), "not a picture that Pillow can read"),
    "odd.dds": (lambda path: path.write_bytes(b"DDS |" + bytes(200)), "not a picture that Pillow can read"),
    "float.tiff": (
        lambda path: Image.fromarray(np.zeros((40, 40), np.float32)).save(path),
        "has floating-point pixels, whose range is unknown; convert it to 8 bits first",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    make, message = WRONG[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=rf"^{name}: {message}") as error:
        read_picture(tmp_path / name, name)
    assert "\n" not in str(error.value)


def test_a_huge_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"^a: too large; make it smaller first$"):
        read_picture(content(halves(), "PNG"), "a")


def test_pictures_are_known_by_their_names() -> None:
    assert all(is_picture(Path(name)) for name in ("a.jpg", "a.JPEG", "b.png", "c.webp", "d.heic", "e.svg", "f.tif"))
    others = ("a.txt", "a", ".png", "readme.md", "a.jpg.part", "a.pdf", "a.eps", "a.mpg", "a.h5")
    assert not any(is_picture(Path(name)) for name in others)
