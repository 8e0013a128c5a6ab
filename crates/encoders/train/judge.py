"""Judges copy encoders: edited copies of held-out photos against all of them.

    python judge.py copies --photos PHOTOS --models MODELS [--images 550] [--more PICTURES] ENCODER...
    python judge.py semantic --photos PHOTOS --models MODELS ENCODER...
    python judge.py speed ENCODER...

PHOTOS holds caltech101/CLASS/ and imagenet/. An ENCODER is a name of `known` below, or an ONNX
file: FILE.onnx:SIDE:squash (both sides to SIDE) or FILE.onnx:SIDE:crop (the shorter side, then the
middle). `+white` behind it whitens its vectors.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from edits import EDITS, MIDDLE, MILD, STRONG
from encoders import IMAGENET, LITE, Hash, Onnx, Whitening

HERE = Path(__file__).parent
SEED = 17


def known(name, models):
    path = name.split("+")[0]
    if path in ("phash", "dhash", "pdq"):
        return Hash(path)
    if path == "vit_tiny":
        return Onnx(models / "vit_tiny_patch16_224.onnx", 248, 224, False, *IMAGENET, output="pooler_output")
    if path == "mobilenet_v2":
        half = ((0.5,) * 3, (0.5,) * 3)
        return Onnx(models / "mobilenet_v2_224_features.onnx", 248, 224, False, *half)
    if path in ("copy", "semantic"):
        path += ":%d:%s" % {"copy": (224, "squash"), "semantic": (224, "crop")}[path]
        path = str(HERE.parent / "weights" / path.replace(":", ".onnx:", 1))
    file, side, mode = path.split(":")
    side = int(side)
    resize = side
    return Onnx(file, resize, side, mode == "squash", *LITE)


def photos(folder):
    files = sorted(folder.glob("caltech101/*/*.jpg")) + sorted(folder.glob("imagenet/*.JPEG"))
    assert files, f"no photos in {folder}"
    return files


def load(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if max(image.size) > 1024:
        image.thumbnail((1024, 1024), Image.BICUBIC)
    return image


def copies(path, host, number):
    """The picture itself and its copies, in the order of EDITS."""
    image, host = load(path), load(host)
    out = [image]
    for kind, name in enumerate(EDITS):
        out.append(EDITS[name](image, host, np.random.default_rng([SEED, number, kind])))
    return out


def thumb(image):
    x = np.asarray(image.convert("L").resize((32, 32), Image.BOX), np.float32)
    flat = lambda x: (x - x.mean()).ravel() / max(1e-6, np.linalg.norm(x - x.mean()))
    return flat(x), flat(x[:, ::-1])


def work(job):
    """Pictures of one job, prepared for every encoder: on other cores, to keep the models busy."""
    global ENCODERS
    kind, *rest = job
    pictures = copies(*rest) if kind == "copies" else [load(rest[0])]
    return [[np.asarray(one(picture), np.float32) for picture in pictures] for one in ENCODERS], thumb(pictures[0])


def start(names, models):
    global ENCODERS
    built = [known(name, models) for name in dict.fromkeys(name.split("+")[0] for name in names)]
    ENCODERS = [one.prepare for one in built]
    return built


def embed(jobs, built):
    vectors = [[] for _ in built]
    thumbs = []
    began = time.time()
    for number, job in enumerate(jobs):
        prepared, small = work(job)
        thumbs.append(small)
        for out, encoder, pictures in zip(vectors, built, prepared):
            out.append(encoder.encode(pictures))
        if number % 100 == 99:
            print(f"{number + 1} of {len(jobs)} pictures, {time.time() - began:.0f} s", file=sys.stderr, flush=True)
    return [np.stack(out) for out in vectors], thumbs


def average_precision(right, wrong, bins=20001):
    """Micro-AP by a histogram of cosines, and the precision and recall at every bin."""
    at = lambda x: np.clip(((x + 1) / 2 * (bins - 1)).astype(int), 0, bins - 1)
    good = np.bincount(at(right), minlength=bins)[::-1].cumsum()[::-1]
    bad = wrong[::-1].cumsum()[::-1]
    precision = good / np.maximum(1, good + bad)
    here = np.bincount(at(right), minlength=bins)
    return (precision * here).sum() / len(right), precision, good / len(right)


def judge_copies(options):
    files = photos(options.photos)
    chance = np.random.default_rng(SEED)
    n_caltech = sum("caltech101" in str(path) for path in files)
    half = options.images // 2
    imagenet = n_caltech + np.sort(chance.permutation(len(files) - n_caltech)[: min(half, len(files) - n_caltech)])
    caltech = np.sort(chance.permutation(n_caltech)[: options.images - len(imagenet)])
    originals = np.concatenate([caltech, imagenet])
    hosts = np.roll(originals, 1 + len(originals) // 3)
    extra = sorted(options.more.glob("*.jpg"))[: options.most] if options.more else []
    built = start(options.encoders, options.models)
    pool, thumbs = embed([("one", path) for path in files + extra], built)
    made, _ = embed([("copies", files[a], files[b], int(a)) for a, b in zip(originals, hosts)], built)

    upright = np.stack([one for one, _ in thumbs])
    mirrored = np.stack([two for _, two in thumbs])
    alike = np.maximum(upright[originals] @ upright.T, mirrored[originals] @ upright.T) >= 0.9
    alike_host = np.maximum(upright[hosts] @ upright.T, mirrored[hosts] @ upright.T) >= 0.9
    alike[np.arange(len(originals)), originals] = False
    print(f"{len(originals)} originals, {len(EDITS)} copies each, against {len(files)} photos and {len(extra)} others;")
    print(f"{int(alike.sum())} pairs of an original and a photo look alike and are left out\n")
    results = {}
    names = list(EDITS)
    for name in options.encoders:
        which = list(dict.fromkeys(one.split("+")[0] for one in options.encoders)).index(name.split("+")[0])
        base = pool[which][:, 0]
        white = Whitening(base) if name.endswith("+white") else lambda x: x
        database = white(base)
        right = np.zeros((len(originals), len(names)), np.float32)
        bins = 20001
        wrong = np.zeros((len(names), bins), np.int64)
        strict = np.zeros((len(names), bins), np.int64)
        for row, (original, host) in enumerate(zip(originals, hosts)):
            scores = white(made[which][row][1:]) @ database.T
            right[row] = scores[:, original]
            for kind, edit in enumerate(names):
                out = np.zeros(len(database), bool)
                out[original] = True
                if edit.startswith("collage"):
                    out |= alike_host[row]
                at = np.clip(((scores[kind] + 1) / 2 * (bins - 1)).astype(int), 0, bins - 1)
                strict[kind] += np.bincount(at[~out], minlength=bins)
                wrong[kind] += np.bincount(at[~out & ~alike[row]], minlength=bins)
        found = {"by_edit": {}}
        groups = {"mild": MILD, "middle": MIDDLE, "mild and middle": MILD + MIDDLE, "strong": STRONG, "all": names}
        for label, members in [*groups.items(), *((edit, [edit]) for edit in names)]:
            kinds = [names.index(edit) for edit in members]
            ap, precision, recall = average_precision(right[:, kinds].ravel(), wrong[kinds].sum(0))
            least, *_ = average_precision(right[:, kinds].ravel(), strict[kinds].sum(0))
            # The lowest threshold from which on upwards precision stays at 0.99 or more.
            over = precision < 0.99
            over &= recall > 0
            first = (np.flatnonzero(over).max() + 1) if over.any() else 0
            found["by_edit"][label] = {
                "micro_ap": float(ap),
                "micro_ap_all_wrong": float(least),
                "threshold": float(first / (bins - 1) * 2 - 1),
                "recall": float(recall[min(first, bins - 1)]),
            }
        # Pairs of photos that nobody edited, over thresholds.
        sims = database @ database.T
        np.fill_diagonal(sims, -1)
        upper = sims[np.triu_indices(len(database), 1)]
        found["pool_pairs_over"] = {f"{t:.2f}": int((upper >= t).sum()) for t in np.arange(0.3, 1.0, 0.05)}
        results[name] = found
    width = max(len(name) for name in names) + 2
    short = [Path(name.split(":")[0]).stem + ("+white" if name.endswith("+white") else "") for name in options.encoders]
    print("micro-AP".ljust(width) + "".join(one.rjust(max(9, len(one) + 2)) for one in short))
    for label in [*groups, *names]:
        cells = [f"{results[name]['by_edit'][label]['micro_ap']:.4f}".rjust(max(9, len(one) + 2)) for name, one in zip(options.encoders, short)]
        print(label.ljust(width) + "".join(cells))
    for name, one in zip(options.encoders, short):
        print(f"\n{one}: undecided pairs as wrong: all {results[name]['by_edit']['all']['micro_ap_all_wrong']:.4f}, "
              f"mild and middle {results[name]['by_edit']['mild and middle']['micro_ap_all_wrong']:.4f}")
        for label in ("mild and middle", "all"):
            at = results[name]["by_edit"][label]
            print(f"  {label}: precision 0.99 from threshold {at['threshold']:.3f} on, recall {at['recall']:.3f}")
        print("  pairs of unedited photos over:", results[name]["pool_pairs_over"])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def judge_semantic(options):
    files = sorted(options.photos.glob("caltech101/*/*.jpg"))
    by_class = {}
    for path in files:
        by_class.setdefault(path.parent.name, []).append(path)
    chosen = [path for members in by_class.values() for path in members[:10]]
    labels = np.array([path.parent.name for path in chosen])
    built = start(options.encoders, options.models)
    every = files if any("+white" in name for name in options.encoders) else chosen
    vectors, _ = embed([("one", path) for path in every], built)
    where = [every.index(path) for path in chosen]
    print(f"nearest neighbour by class, {len(by_class)} classes, {len(chosen)} photos")
    for name in options.encoders:
        which = list(dict.fromkeys(one.split("+")[0] for one in options.encoders)).index(name.split("+")[0])
        base = vectors[which][:, 0]
        x = (Whitening(base)(base) if name.endswith("+white") else base)[where]
        sims = x @ x.T
        np.fill_diagonal(sims, -2)
        nearest = sims.argmax(1)
        print(f"{(labels[nearest] == labels).mean():.4f} {name}")


def judge_speed(options):
    for name in options.encoders:
        (encoder,) = start([name], options.models)
        side = encoder.recipe[1]
        batch = list(np.random.default_rng(0).standard_normal((16, 3, side, side), np.float32))
        encoder.encode(batch)
        wall, cpu = time.time(), time.process_time()
        for _ in range(16):
            encoder.encode(batch)
        wall, cpu = time.time() - wall, time.process_time() - cpu
        print(f"{256 / wall:.0f} images/s by the clock, {2 * 256 / cpu:.0f} by processor time of two cores: {name}")


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("what", choices=["copies", "semantic", "speed"])
    parse.add_argument("encoders", nargs="+")
    parse.add_argument("--photos", type=Path)
    parse.add_argument("--models", type=Path)
    parse.add_argument("--images", type=int, default=550)
    parse.add_argument("--more", type=Path)
    parse.add_argument("--most", type=int, default=6000)
    parse.add_argument("--json", type=Path)
    options = parse.parse_args()
    {"copies": judge_copies, "semantic": judge_semantic, "speed": judge_speed}[options.what](options)


if __name__ == "__main__":
    main()
