"""Makes preprocess.bin, the golden of `ops::preprocess`: torchvision's Resize and CenterCrop, in Pillow alone.

pip install pillow==12.0.0 numpy && python crates/ops/golden/preprocess.py
"""

import pathlib

import numpy
from PIL import Image

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def synthetic(width, height):
    y, x = numpy.mgrid[0:height, 0:width]
    channels = [x * y, 7 * x + 3 * y, (x // 8 + y // 8) % 2 * 255]
    return Image.fromarray((numpy.stack(channels, 2) % 256).astype("uint8"))


def resize(image, edge, squash, kernel):
    width, height = image.size
    if squash:
        size = edge, edge
    elif width <= height:
        size = edge, int(edge * height / width)
    else:
        size = int(edge * width / height), edge
    return image if size == image.size else image.resize(size, kernel)


def crop(image, side):
    width, height = image.size
    if width < side or height < side:
        left, top = max(0, (side - width) // 2), max(0, (side - height) // 2)
        padded = Image.new("RGB", (max(width, side), max(height, side)))
        padded.paste(image, (left, top))
        image, (width, height) = padded, padded.size
    left, top = int(round((width - side) / 2.0)), int(round((height - side) / 2.0))
    return image.crop((left, top, left + side, top + side))


# width, height, edge, squash, crop, kernel: the order of CASES in src/ops/preprocess.rs
CASES = [
    (97, 61, 32, False, 24, BICUBIC),
    (97, 61, 32, False, 24, BILINEAR),
    (61, 97, 24, True, 24, BICUBIC),
    (13, 9, 20, False, 21, BICUBIC),
    (20, 15, 15, False, 12, BILINEAR),
    (40, 9, 9, False, 20, BICUBIC),
]

if __name__ == "__main__":
    out = pathlib.Path(__file__).with_name("preprocess.bin")
    out.write_bytes(
        b"".join(crop(resize(synthetic(w, h), e, s, k), c).tobytes() for w, h, e, s, c, k in CASES)
    )
