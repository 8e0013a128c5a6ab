"""The peers' side of copies.sh: edits photos, finds copies with imagededup's hashes and by SemDeDup's rule, and scores pairs."""
import pathlib
import sys
import time

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter


def crop(picture, keep):
    width, height = picture.size
    left, top = int(width * (1 - keep) / 2), int(height * (1 - keep) / 2)
    return picture.crop((left, top, width - left, height - top))


def lettered(picture):
    picture = picture.copy()
    ImageDraw.Draw(picture).text((picture.width // 8, picture.height // 2), "for sale today", fill=(255, 255, 0), font_size=max(picture.height // 8, 10))
    return picture


def bordered(picture):
    framed = Image.new("RGB", (picture.width * 5 // 4, picture.height * 5 // 4), (20, 20, 20))
    framed.paste(picture, (picture.width // 8, picture.height // 8))
    return framed


EDITS = {
    "half": lambda p: p.resize((p.width // 2, p.height // 2)),
    "blur": lambda p: p.filter(ImageFilter.GaussianBlur(2)),
    "bright": lambda p: ImageEnhance.Brightness(p).enhance(1.5),
    "gray": lambda p: p.convert("L").convert("RGB"),
    "crop80": lambda p: crop(p, 0.8),
    "crop60": lambda p: crop(p, 0.6),
    "text": lettered,
    "border": bordered,
}


def make(photos, folder, most):
    """Every photo, and of each fourth one all edits; a file's name begins with the number of its photo."""
    files = sorted(path for path in pathlib.Path(photos).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    files = files[:: max(len(files) // most, 1)][:most]
    for number, path in enumerate(files):
        picture = Image.open(path).convert("RGB")
        picture.save(f"{folder}/{number:06d}.jpg", quality=90)
        for name, edit in EDITS.items() if number % 4 == 0 else ():
            edit(picture).save(f"{folder}/{number:06d}-{name}.jpg", quality=30 if name == "half" else 85)


def score(name, names, pairs, seconds):
    """Pairs are (similarity, i, j); the best F1 over all thresholds, counting each pair of files once."""
    copies = {}
    for file in names:
        copies[file[:6]] = copies.get(file[:6], 0) + 1
    wanted = sum(n * (n - 1) // 2 for n in copies.values())
    best, right, seen = (0, 0, 0, 0), 0, set()
    for similarity, i, j in sorted(pairs, reverse=True):
        pair = (min(i, j), max(i, j))
        if i == j or pair in seen:
            continue
        seen.add(pair)
        right += names[i][:6] == names[j][:6]
        recall, precision = right / wanted, right / len(seen)
        if recall + precision > 0:
            best = max(best, (2 * recall * precision / (recall + precision), similarity, precision, recall))
    print(f"{name}: seconds={seconds:.2f} F1={best[0]:.4f} at {best[1]:.3f}: precision {best[2]:.3f}, recall {best[3]:.3f} of {wanted} pairs")


def hashes(folder):
    """imagededup: each image's hash, then all pairs within 20 bits of 64."""
    from imagededup.methods import DHash, PHash

    names = sorted(path.name for path in pathlib.Path(folder).iterdir())
    place = {name: i for i, name in enumerate(names)}
    for method in PHash, DHash:
        start = time.perf_counter()
        hasher = method(verbose=False)
        encodings = hasher.encode_images(image_dir=folder, num_enc_workers=2)
        found = hasher.find_duplicates(encoding_map=encodings, max_distance_threshold=20, scores=True, num_dist_workers=2)
        seconds = time.perf_counter() - start
        pairs = [(-distance, place[a], place[b]) for a, near in found.items() for b, distance in near]
        score(f"imagededup {method.__name__}", names, pairs, seconds)


def table(folder):
    import pyarrow.dataset as ds

    return ds.dataset(sorted(str(path) for path in pathlib.Path(folder).glob("part-*.parquet")), format="parquet").to_table()


def names_by_id(work):
    images = table(f"{work}/ingest")
    return dict(zip(images["id"].to_pylist(), (url.rsplit("/", 1)[-1] for url in images["url"].to_pylist())))


def ours(work, seconds):
    by_id = names_by_id(work)
    names = sorted(by_id.values())
    place = {name: i for i, name in enumerate(names)}
    edges = table(f"{work}/dedup/edges")
    ends = (edges[column].to_pylist() for column in ("similarity", "id", "neighbour"))
    score("lvd", names, [(s, place[by_id[a]], place[by_id[b]]) for s, a, b in zip(*ends)], float(seconds))


def semdedup(work):
    """SemDeDup (arXiv 2303.09540) on our vectors: spherical k-means, then all pairs of each cluster."""
    import faiss

    embedded = table(f"{work}/embed/encoder")
    by_id = names_by_id(work)
    files = [by_id[id] for id in embedded["id"].to_pylist()]
    names = sorted(files)
    place = {name: i for i, name in enumerate(names)}
    vectors = np.stack([np.frombuffer(v, np.float16) for v in embedded["embedding"].to_pylist()]).astype(np.float32)
    start = time.perf_counter()
    k = max(int(len(vectors) ** 0.5) // 2, 1)
    kmeans = faiss.Kmeans(vectors.shape[1], k, niter=100, spherical=True, seed=1, max_points_per_centroid=len(vectors))
    kmeans.train(vectors)
    home = kmeans.index.search(vectors, 1)[1][:, 0]
    pairs = []
    for cluster in range(k):
        rows = np.flatnonzero(home == cluster)
        products = np.triu(vectors[rows] @ vectors[rows].T, 1)
        for i, j in zip(*np.nonzero(products > 0.5)):
            pairs.append((products[i, j], place[files[rows[i]]], place[files[rows[j]]]))
    score("SemDeDup, after our vectors", names, pairs, time.perf_counter() - start)


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    if name == "make":
        make(arguments[0], arguments[1], int(arguments[2]))
    else:
        {"hashes": hashes, "ours": ours, "semdedup": semdedup}[name](*arguments)
