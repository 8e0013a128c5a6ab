"""The 30 edits of `lvd calibrate` (crates/ops/src/edits), for judging only. Same kinds and
strengths; letters, the face and the draws differ from the Rust ones."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WORDS = ["SEEN ON THE ROAD", "SO LATE AGAIN", "HOLD ON TO THIS", "WHAT A DAY", "NO WORDS NEEDED HERE", "THE GOOD TIDE"]
DARK, LIGHT = (12,) * 3, (245,) * 3


def crop(image, area, chance):
    w, h = [max(1, int(side * area**0.5)) for side in image.size]
    left, top = chance.integers(0, image.width - w + 1), chance.integers(0, image.height - h + 1)
    return image.crop((left, top, left + w, top + h))


def scale(image, across, down):
    return image.resize((max(1, int(image.width * across)), max(1, int(image.height * down))), Image.BICUBIC)


def jpeg(image, quality):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def blur(image, share):
    return image.filter(ImageFilter.GaussianBlur(max(0.5, share * (image.width * image.height) ** 0.5)))


def sharpen(image):
    pixels = np.asarray(image, np.float32)
    return whole(2 * pixels - np.asarray(blur(image, 0.01), np.float32))


def whole(pixels):
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def noise(image, deviation, chance):
    pixels = np.asarray(image, np.float32)
    return whole(pixels + deviation * chance.standard_normal(pixels.shape, np.float32) + 0.5)


def colours(image, brightness=0.0, contrast=1.0, saturation=1.0):
    pixels = np.asarray(image, np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    pixels = grey[..., None] + (pixels - grey[..., None]) * saturation
    return whole((pixels - 128) * contrast + 128 + brightness)


def write(draw, at, text, size, ink):
    draw.text(at, text, fill=ink, font=ImageFont.load_default(max(6, size)))


def text_overlay(image, chance):
    edited = image.copy()
    draw = ImageDraw.Draw(edited)
    text = WORDS[chance.integers(len(WORDS))]
    size = max(6, int(image.width * 0.8 / (len(text) * 0.62)))
    left, top = image.width // 10, int(chance.integers(0, max(1, image.height - size)))
    write(draw, (left + 1 + size // 12, top + 1 + size // 12), text, size, DARK)
    write(draw, (left, top), text, size, LIGHT)
    return edited


def caption(image, chance):
    edited = image.copy()
    draw = ImageDraw.Draw(edited)
    strip, ink = (DARK, LIGHT) if chance.random() < 0.5 else (LIGHT, DARK)
    top = int(image.height * 0.88)
    draw.rectangle((0, top, image.width, image.height), fill=strip)
    size = max(6, (image.height - top) * 2 // 3)
    write(draw, (size // 2, top + size // 6), WORDS[chance.integers(len(WORDS))], size, ink)
    return edited


def emoji_overlay(image, chance):
    edited = image.copy()
    draw = ImageDraw.Draw(edited)
    r = 0.2 * min(image.size)
    x = r + chance.random() * (image.width - 2 * r)
    y = r + chance.random() * (image.height - 2 * r)
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 209, 51), outline=(191, 128, 13), width=max(1, int(r * 0.06)))
    for side in (-1, 1):
        at = x + side * 0.35 * r, y - 0.25 * r
        draw.ellipse((at[0] - 0.1 * r, at[1] - 0.17 * r, at[0] + 0.1 * r, at[1] + 0.17 * r), fill=(64, 38, 13))
    draw.arc((x - 0.5 * r, y - 0.1 * r, x + 0.5 * r, y + 0.6 * r), 20, 160, fill=(64, 38, 13), width=max(1, int(r * 0.1)))
    return edited


def screenshot(image, chance):
    page, bar, ink = [((250,) * 3, (222, 224, 230), (70,) * 3), ((24, 25, 28), (48, 50, 56), (215,) * 3)][chance.integers(2)]
    frame, top = max(1, min(image.size) // 16), max(4, image.height // 6)
    edited = Image.new("RGB", (image.width + 2 * frame, image.height + top + 2 * frame), page)
    draw = ImageDraw.Draw(edited)
    draw.rectangle((0, 0, edited.width, top), fill=bar)
    button = max(1, top // 3)
    for number, colour in enumerate([(236, 95, 87), (240, 189, 62), (98, 196, 84)]):
        left = frame + number * 2 * button
        draw.rectangle((left, button, left + button, 2 * button), fill=colour)
    write(draw, (frame + 7 * button, top // 4), WORDS[chance.integers(len(WORDS))], top // 2, ink)
    edited.paste(image, (frame, top + frame))
    return edited


def collage(image, host, share, chance):
    by = min(share * host.width / image.width, share * host.height / image.height)
    pasted = scale(image, by, by)
    free = max(0, host.width - pasted.width), max(0, host.height - pasted.height)
    edited = host.copy()
    edited.paste(pasted, (free[0] * int(chance.integers(2)), free[1] * int(chance.integers(2))))
    return edited


EDITS = {
    "crop_mild": lambda i, h, c: crop(i, 0.8, c),
    "crop_strong": lambda i, h, c: crop(i, 0.5, c),
    "resize_half": lambda i, h, c: scale(i, 0.5, 0.5),
    "resize_quarter": lambda i, h, c: scale(i, 0.25, 0.25),
    "aspect_wide": lambda i, h, c: scale(i, 1, 0.75),
    "aspect_tall": lambda i, h, c: scale(i, 0.75, 1),
    "jpeg_70": lambda i, h, c: jpeg(i, 70),
    "jpeg_30": lambda i, h, c: jpeg(i, 30),
    "jpeg_10": lambda i, h, c: jpeg(i, 10),
    "blur_mild": lambda i, h, c: blur(i, 0.005),
    "blur_strong": lambda i, h, c: blur(i, 0.02),
    "noise_mild": lambda i, h, c: noise(i, 10, c),
    "noise_strong": lambda i, h, c: noise(i, 30, c),
    "sharpen": lambda i, h, c: sharpen(i),
    "brighter": lambda i, h, c: colours(i, brightness=48),
    "darker": lambda i, h, c: colours(i, brightness=-48),
    "contrast_up": lambda i, h, c: colours(i, contrast=1.6),
    "contrast_down": lambda i, h, c: colours(i, contrast=0.5),
    "saturation_up": lambda i, h, c: colours(i, saturation=2),
    "grayscale": lambda i, h, c: colours(i, saturation=0),
    "text_overlay": lambda i, h, c: text_overlay(i, c),
    "caption": lambda i, h, c: caption(i, c),
    "emoji_overlay": lambda i, h, c: emoji_overlay(i, c),
    "screenshot": lambda i, h, c: screenshot(i, c),
    "collage_half": lambda i, h, c: collage(i, h, 0.7, c),
    "collage_quarter": lambda i, h, c: collage(i, h, 0.5, c),
    "rotate_5": lambda i, h, c: i.rotate(5 if c.random() < 0.5 else -5, Image.BILINEAR),
    "rotate_90": lambda i, h, c: i.transpose(Image.ROTATE_270),
    "flip_horizontal": lambda i, h, c: i.transpose(Image.FLIP_LEFT_RIGHT),
    "flip_vertical": lambda i, h, c: i.transpose(Image.FLIP_TOP_BOTTOM),
}
# Another picture around it, or another way up: no one expects a small encoder to see through these.
STRONG = ["collage_half", "collage_quarter", "rotate_90", "flip_vertical"]
# Much is lost or covered.
MIDDLE = [
    "crop_strong", "resize_quarter", "jpeg_10", "blur_strong", "noise_strong", "text_overlay", "caption",
    "emoji_overlay", "screenshot", "rotate_5", "flip_horizontal",
]
MILD = [name for name in EDITS if name not in STRONG + MIDDLE]
