"""Edited views of the training pictures, as what the frozen front of the backbone makes of them.

    python views.py data.csv PICTURES VIEWS --rounds 2

Every round makes two views of each picture and writes them to VIEWS as a file of half-precision
arrays: picture number, host number (-1 without), 112 x 10 x 10 features. The front is everything
up to the last stride but one; the trainer (train.py) reads the files again and again.
"""

import argparse
import csv
import tempfile
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from model import MEAN, STD, pretrained

SEED, SIDE, FRONT, BATCH = 17, 160, 11, 32
FONTS = [getattr(cv2, name) for name in dir(cv2) if name.startswith("FONT_HERSHEY")]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!?.,#@"


def colour(chance):
    return tuple(int(v) for v in chance.choice([chance.integers(0, 256, 3), [chance.integers(0, 256)] * 3, [0] * 3, [255] * 3]))


def words(chance, most=5):
    length = lambda: chance.integers(2, 9)
    return " ".join("".join(chance.choice(list(LETTERS), length())) for _ in range(chance.integers(1, most + 1)))


def letter(image, text, at, high, ink, chance, shade=None):
    font = FONTS[chance.integers(len(FONTS))]
    thick = max(1, int(high / chance.uniform(6, 14)))
    size = high / 22
    if shade is not None:
        off = max(1, int(high / 12))
        cv2.putText(image, text, (at[0] + off, at[1] + off), font, size, shade, thick + int(chance.integers(2)), cv2.LINE_AA)
    cv2.putText(image, text, at, font, size, ink, thick, cv2.LINE_AA)


def crop(x, chance, least):
    h, w = x.shape[:2]
    area, aspect = chance.uniform(least, 0.98), np.exp(chance.uniform(-0.3, 0.3))
    cw = int(min(w, max(16, w * (area * aspect) ** 0.5)))
    ch = int(min(h, max(16, h * (area / aspect) ** 0.5)))
    left, top = chance.integers(0, w - cw + 1), chance.integers(0, h - ch + 1)
    return x[top : top + ch, left : left + cw]


def turn(x, chance, most):
    h, w = x.shape[:2]
    by = cv2.getRotationMatrix2D((w / 2, h / 2), chance.uniform(-most, most), chance.choice([1.0, chance.uniform(0.8, 1.25)]))
    border = [cv2.BORDER_CONSTANT, cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT, cv2.BORDER_REPLICATE][chance.integers(4)]
    value = [(0, 0, 0), (0, 0, 0), (255, 255, 255), colour(chance)][chance.integers(4)]
    return cv2.warpAffine(x, by, (w, h), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=value)


def slant(x, chance):
    h, w = x.shape[:2]
    corners = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
    moved = corners + np.float32(chance.uniform(-0.15, 0.15, (4, 2)) * [w, h])
    by = cv2.getPerspectiveTransform(corners, moved)
    return cv2.warpPerspective(x, by, (w, h), borderMode=cv2.BORDER_CONSTANT, borderValue=colour(chance))


def tones(x, chance):
    y = x.astype(np.float32)
    if chance.random() < 0.6:
        grey = y @ np.float32([0.299, 0.587, 0.114])
        y = grey[..., None] + (y - grey[..., None]) * chance.choice([0.0, chance.uniform(0, 1), chance.uniform(1, 2.6)])
    if chance.random() < 0.6:
        y = (y - 128) * np.exp(chance.uniform(-1.0, 0.8)) + 128
    if chance.random() < 0.6:
        y += chance.uniform(-70, 70)
    if chance.random() < 0.3:
        y += np.float32(chance.uniform(-35, 35, 3))
    y = np.clip(y, 0, 255)
    if chance.random() < 0.2:
        y = 255 * (y / 255) ** np.exp(chance.uniform(-0.8, 0.8))
    if chance.random() < 0.06:
        steps = chance.integers(3, 9)
        y = np.round(y / 255 * steps) * 255 / steps
    if chance.random() < 0.15:
        y = y[..., chance.permutation(3)]
    return y.astype(np.uint8)


# What `quality` draws from, in the first round of views and from the second on. After the first,
# strong blur was what the encoder failed at.
BLUR, PIXELS, NOISE, SHARP, JPEG = range(5)
KINDS = [[BLUR, PIXELS, NOISE, SHARP, JPEG], [BLUR, BLUR, BLUR, BLUR, PIXELS, PIXELS, NOISE, NOISE, SHARP, JPEG]]


def quality(x, chance, kinds):
    h, w = x.shape[:2]
    side = (h * w) ** 0.5
    kind = kinds[chance.integers(len(kinds))]
    if kind == BLUR:
        return cv2.GaussianBlur(x, (0, 0), max(0.4, side * np.exp(chance.uniform(np.log(0.003), np.log(0.035)))))
    if kind == PIXELS:
        by = chance.uniform(0.12, 0.7)
        small = cv2.resize(x, (max(8, int(w * by)), max(8, int(h * by))), interpolation=[cv2.INTER_AREA, cv2.INTER_LINEAR][chance.integers(2)])
        return cv2.resize(small, (w, h), interpolation=[cv2.INTER_NEAREST, cv2.INTER_CUBIC][chance.integers(2)])
    if kind == NOISE:
        noise = chance.standard_normal(x.shape[: chance.integers(2, 4)], np.float32) * chance.uniform(5, 45)
        return np.clip(x + (noise if noise.ndim == 3 else noise[..., None]), 0, 255).astype(np.uint8)
    if kind == SHARP:
        soft = cv2.GaussianBlur(x, (0, 0), max(0.5, side * chance.uniform(0.003, 0.015))).astype(np.float32)
        return np.clip(x + chance.uniform(0.5, 2.5) * (x - soft), 0, 255).astype(np.uint8)
    return squeeze(x, chance)


def squeeze(x, chance):
    best = int(np.exp(chance.uniform(np.log(5), np.log(90))))
    return cv2.imdecode(cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, best])[1], cv2.IMREAD_COLOR)


def text(x, chance):
    x = x.copy()
    h, w = x.shape[:2]
    for _ in range(chance.integers(1, 4)):
        high = int(h * chance.uniform(0.04, 0.2))
        at = int(chance.uniform(-0.05, 0.4) * w), int(chance.uniform(0.05, 1) * h)
        letter(x, words(chance), at, max(6, high), colour(chance), chance, colour(chance) if chance.random() < 0.5 else None)
    return x


def strip(x, chance):
    """A strip with words, over the picture or beside it."""
    h, w = x.shape[:2]
    high = max(10, int(h * chance.uniform(0.07, 0.25)))
    bar = np.full((high, w, 3), colour(chance), np.uint8)
    letter(bar, words(chance), (int(w * chance.uniform(0, 0.2)), int(high * 0.75)), high * chance.uniform(0.3, 0.7), colour(chance), chance)
    above = chance.random() < 0.4
    if chance.random() < 0.5:
        x = x.copy()
        x[(slice(0, high) if above else slice(h - high, h))] = bar
        return x
    return np.concatenate([bar, x] if above else [x, bar])


def shapes(x, chance):
    x = x.copy()
    h, w = x.shape[:2]
    for _ in range(chance.integers(1, 4)):
        r = int(min(h, w) * chance.uniform(0.05, 0.24))
        at = int(chance.uniform(0, w)), int(chance.uniform(0, h))
        fill, ink = colour(chance), colour(chance)
        kind = chance.integers(4)
        if kind < 2:
            cv2.circle(x, at, r, fill, -1, cv2.LINE_AA)
            cv2.circle(x, at, r, ink, max(1, r // 12), cv2.LINE_AA)
            if kind == 0:
                for side in (-1, 1):
                    cv2.circle(x, (at[0] + side * r // 3, at[1] - r // 4), max(1, r // 7), ink, -1, cv2.LINE_AA)
                cv2.ellipse(x, (at[0], at[1] + r // 6), (r // 2, r // 3), 0, 10, 170, ink, max(1, r // 9), cv2.LINE_AA)
        elif kind == 2:
            cv2.rectangle(x, (at[0] - r, at[1] - r), (at[0] + r, at[1] + int(r * chance.uniform(-0.5, 1))), fill, -1)
        else:
            corners = np.int32([at + r * np.array([np.cos(a), np.sin(a)]) for a in np.sort(chance.uniform(0, 6.28, chance.integers(3, 9)))])
            cv2.fillPoly(x, [corners], fill, cv2.LINE_AA)
    return x


def window(x, chance):
    """In the window of a program or on the screen of a telephone."""
    h, w = x.shape[:2]
    top, bottom, left, right = [int(max(h, w) * chance.choice([0, chance.uniform(0, 0.06), chance.uniform(0, 0.3)])) for _ in range(4)]
    page = np.full((h + top + bottom, w + left + right, 3), colour(chance), np.uint8)
    if top > 8:
        page[: int(top * 0.8)] = colour(chance)
        if chance.random() < 0.6:
            letter(page, words(chance), (int(w * chance.uniform(0, 0.5)), int(top * 0.6)), top * chance.uniform(0.2, 0.5), colour(chance), chance)
        for number in range(chance.integers(0, 5)):
            cv2.circle(page, (int(top * (0.4 + 0.5 * number)), top // 2), max(1, top // 6), colour(chance), -1, cv2.LINE_AA)
    for _ in range(chance.integers(0, 4) if bottom > 12 else 0):
        y = h + top + int(bottom * chance.uniform(0.3, 1))
        letter(page, words(chance), (int(w * chance.uniform(0, 0.4)), y), max(5, bottom * chance.uniform(0.1, 0.3)), colour(chance), chance)
    page[top : top + h, left : left + w] = x
    return page


def paste(x, host, chance):
    """On another picture."""
    h, w = host.shape[:2]
    share = chance.uniform(0.42, 0.9)
    by = min(share * h / x.shape[0], share * w / x.shape[1])
    if chance.random() < 0.3:
        small = cv2.resize(x, (max(8, int(w * share)), max(8, int(h * share * chance.uniform(0.7, 1)))), interpolation=cv2.INTER_AREA)
    else:
        small = cv2.resize(x, (max(8, int(x.shape[1] * by)), max(8, int(x.shape[0] * by))), interpolation=cv2.INTER_AREA)
    sh, sw = small.shape[:2]
    top, left = [int(chance.choice([0, free, chance.integers(0, free + 1)])) for free in (h - sh, w - sw)]
    out = host.copy()
    out[top : top + sh, left : left + sw] = small
    return out


def cover(x, other, chance):
    """With another picture over a part of it, or shining through."""
    x = x.copy()
    h, w = x.shape[:2]
    if chance.random() < 0.3:
        return cv2.addWeighted(x, chance.uniform(0.6, 0.85), cv2.resize(other, (w, h)), chance.uniform(0.15, 0.4), 0)
    sh, sw = int(h * chance.uniform(0.15, 0.55)), int(w * chance.uniform(0.15, 0.55))
    top, left = chance.integers(0, h - sh + 1), chance.integers(0, w - sw + 1)
    x[top : top + sh, left : left + sw] = cv2.resize(other, (sw, sh), interpolation=cv2.INTER_AREA)
    return x


def view(x, other, chance, strength, again):
    """An edited copy of `x`, and whether it shows `other` as well; `again` after the first round."""
    often = lambda p: chance.random() < p * strength
    worse = partial(quality, kinds=KINDS[again])
    hosted = False
    if often(0.55):
        x = crop(x, chance, 0.3 if chance.random() < 0.7 else 0.7)
    if often(0.35):
        x = x[:, ::-1]
    if often(0.06):
        x = x[::-1]
    if often(0.10):
        x = np.rot90(x, chance.integers(1, 4))
    x = np.ascontiguousarray(x)
    if often(0.15):
        x = turn(x, chance, chance.choice([8, 8, 30]))
    if often(0.04):
        x = slant(x, chance)
    if often(0.55):
        x = tones(x, chance)
    steps = []
    steps += [worse] if often([0.35, 0.7][again]) else []
    steps += [text] if often(0.2) else []
    steps += [strip] if often(0.12) else []
    steps += [shapes] if often(0.2) else []
    steps += [window] if often(0.15) else []
    for number in chance.permutation(len(steps)):
        x = steps[number](x, chance)
    if often(0.08):
        x = cover(x, other, chance)
    if often(0.16):
        x, hosted = paste(x, other, chance), True
    if often(0.15):
        x = worse(x, chance)
    if often(0.4):
        x = squeeze(x, chance)
    return x, hosted


def main():
    import export
    import onnxruntime

    parse = argparse.ArgumentParser()
    parse.add_argument("list")
    parse.add_argument("pictures", type=Path)
    parse.add_argument("views", type=Path)
    parse.add_argument("--rounds", type=int, default=2)
    parse.add_argument("--process", type=int, default=0, help="this one's number, of --processes")
    parse.add_argument("--processes", type=int, default=1)
    parse.add_argument("--show", type=Path, help="only a sheet of views, to look at")
    options = parse.parse_args()
    blobs = sorted({row["blob"] for row in csv.DictReader(open(options.list))})
    files = [options.pictures / f"{blob}.jpg" for blob in blobs]
    data = [path.read_bytes() if path.exists() else None for path in files]
    usable = [number for number, bytes in enumerate(data) if bytes]
    read = lambda number: cv2.imdecode(np.frombuffer(data[number], np.uint8), cv2.IMREAD_COLOR)
    cv2.setNumThreads(1)

    def make(number, turn_number):
        chance = np.random.default_rng([SEED, number, turn_number])
        host = int(chance.choice(usable))
        # Every fourth view is hardly edited: what a pool holds itself.
        strength = 0.35 if chance.random() < 0.25 else 1.0
        x, hosted = view(read(number), read(host), chance, strength, turn_number >= 2)
        x = Image.fromarray(x[..., ::-1]).resize((SIDE, SIDE), Image.BICUBIC)
        return np.asarray(x), host if hosted and host != number else -1

    if options.show:
        sheet = [np.concatenate([make(number, turn_number)[0] for turn_number in range(8)], 1) for number in usable[:: len(usable) // 10][:10]]
        Image.fromarray(np.concatenate(sheet)).save(options.show)
        return
    options.views.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        export.front(pretrained("lite0"), FRONT, SIDE, file.name)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file.name, settings, providers=["CPUExecutionProvider"])
    began, done = time.time(), 0
    # An eighth of the pictures a file: others may begin to train on it. The last eighth is kept.
    for part in (part for part in range(options.rounds * 8) if part % 8 < 7):
        target = options.views / f"{part:04}.npz"
        if target.exists() or part % options.processes != options.process:
            continue
        mine = [number for number in usable if number % 8 == part % 8]
        jobs = [(number, 2 * (part // 8) + second) for number in mine for second in (0, 1)]
        hosts, features = [], []
        for start in range(0, len(jobs), BATCH):
            made = [make(*job) for job in jobs[start : start + BATCH]]
            pixels = (np.stack([x for x, _ in made]).transpose(0, 3, 1, 2) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
            features.append(session.run(None, {"pixels": pixels.astype(np.float32)})[0].astype(np.float16))
            hosts += [host for _, host in made]
        with open(target.with_suffix(".part"), "wb") as out:
            np.savez(out, pictures=np.array([number for number, _ in jobs]), hosts=np.array(hosts), features=np.concatenate(features))
        target.with_suffix(".part").rename(target)
        done += len(jobs)
        print(f"{part} {len(jobs)} views, {done / (time.time() - began):.1f} a second", flush=True)


if __name__ == "__main__":
    main()
