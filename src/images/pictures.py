"""A picture of any format and size as an image of this project, which has 32 x 32 pixels."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from src.base.errors import InputError, out_of_memory
from src.images.format import SIDE

UNREADABLE = {
    ".heic": "convert it to JPEG first, for instance with `heif-convert`",
    ".heif": "convert it to JPEG first, for instance with `heif-convert`",
    ".svg": "it has no pixels; convert it to PNG first, for instance with `rsvg-convert`",
}
"""What to do about formats that Pillow does not read."""
FORMATS = (
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PCX",
    "PNG",
    "PPM",
    "QOI",
    "TGA",
    "TIFF",
    "WEBP",
)
"""Pillow's names of formats of pictures. It also knows documents, videos and tables, and runs programs for some."""
TURNS: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its orientation in EXIF. `ImageOps.exif_transpose` also writes other fields anew.
It fails where one of them is of another type than the standard says."""


def is_picture(path: Path) -> bool:
    """Whether the name of a file is that of a picture."""
    suffix = path.suffix.lower()
    return suffix in UNREADABLE or Image.registered_extensions().get(suffix) in FORMATS


def read_picture(source: Path | bytes, name: str) -> Tensor:
    """Read a picture: uint8 [3, 32, 32].

    It is turned upright (EXIF). Of an animation the first frame counts. What is transparent becomes white. The shorter
    side is resized to 32 pixels (bilinear, with antialiasing), and the central square is kept.

    Args:
        source: a file, or its content.
        name: for messages.

    Raises:
        InputError: there is no such file, it is not a picture, or it is damaged.
    """
    if advice := UNREADABLE.get(Path(name).suffix.lower()):
        raise InputError(f"{name}: Pillow does not read this format; {advice}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # too large (at twice the size it is an error), or a damaged part of the EXIF
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_known()) as picture:
                image = _colours(picture, name)
                turn = TURNS.get(
                    picture.getexif().get(ExifTags.Base.Orientation)
                )  # none in a TIFF: Pillow has turned it
                image = image if turn is None else image.transpose(turn)
            image = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        raise InputError(f"{name}: not a picture that Pillow can read") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name}: too large; make it smaller first") from None
    except InputError:
        raise
    except Exception as error:  # damaged files raise exceptions of every kind
        if line := out_of_memory(error):
            raise line from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise InputError(f"{name}: cannot be read ({reason or type(error).__name__})") from None
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _known() -> list[str]:
    """Those of `FORMATS` that this Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _colours(image: Image.Image, name: str) -> Image.Image:
    """The image in RGB with 8 bits per channel."""
    if image.mode.startswith("I"):  # whole numbers of one channel: 16 bits, in files
        values: np.ndarray[Any, Any] = np.asarray(image).astype(np.int64)
        values[values == image.info.get("transparency")] = 65535
        return Image.fromarray((values.clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise InputError(f"{name}: has floating-point pixels, whose range is unknown; convert it to 8 bits first")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
