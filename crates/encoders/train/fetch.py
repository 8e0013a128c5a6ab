"""Fetches the training pictures that sources.csv names, with a shorter side of 288.

    python fetch.py PICTURES data.csv            clones the repositories at the commits listed
    python fetch.py PICTURES data.csv --have DIR takes git folders DIR/OWNER+NAME/repo instead

Of each source it draws up to `most` pictures by the hash of their names, and drops what is like
another one. It writes the list: repository, licence, commit, path, git's hash of the file, which is
the name it is stored under. `python fetch.py --check data.csv` says whether it is ours.
"""

import argparse
import csv
import hashlib
import io
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SIDE = 288
# sha256 of the list that the weights were trained with.
LIST = "18fc6cfaaf831b0af26a406e88435cfb8d36dbf06cc13564e6a3c6197175bc2d"
NAMES = re.compile(r"\.(jpe?g|png)$", re.I)


def git(folder, *arguments, data=None):
    return subprocess.run(["git", "-C", str(folder), *arguments], input=data, capture_output=True, check=True).stdout


def repository(name, commit, have):
    """A git folder that holds the commit."""
    if have:
        folder = Path(have) / name.replace("/", "+") / "repo"
        return folder / ".git" if (folder / ".git").exists() else folder
    folder = Path("clones") / name.replace("/", "+")
    if not folder.exists():
        folder.mkdir(parents=True)
        git(folder, "init", "-q")
        git(folder, "fetch", "-q", "--depth", "1", f"https://github.com/{name}", commit)
        git(folder, "update-ref", "HEAD", "FETCH_HEAD")
    return folder


def draw(source, folder):
    groups = {}
    for line in git(folder, "ls-tree", "-r", "-z", source["commit"]).decode(errors="replace").split("\0"):
        if not line:
            continue
        meta, name = line.split("\t", 1)
        if not NAMES.search(name) or not name.startswith(source["only"]):
            continue
        # Exports of labelling programs hold edited copies of a picture: one of them is enough.
        key = name.rsplit("/", 1)[-1].split(".rf.")[0]
        number = hashlib.sha256(name.encode()).hexdigest()
        groups[key] = min(groups.get(key, ("~",)), (number, name, meta.split()[2]))
    drawn = sorted(groups.values())[: int(source["most"])]
    return [(source["repository"], source["licence"], source["commit"], name, blob) for _, name, blob in drawn]


def store(job):
    folder, blob, target = job
    if target.exists():
        return True
    try:
        image = Image.open(io.BytesIO(git(folder, "cat-file", "blob", blob)))
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        image = ImageOps.exif_transpose(image).convert("RGB")
        short, long = min(image.size), max(image.size)
        if short < 96 or long > 4 * short:
            return False
        scale = SIDE / short
        if scale < 1:
            image = image.resize([max(1, round(side * scale)) for side in image.size], Image.BICUBIC)
        image.save(target, "JPEG", quality=92)
        return True
    except Exception:
        return False


def thumb(path):
    """32 x 32 grey levels, upright and mirrored, as vectors of norm 1."""
    image = Image.open(path)
    image.draft("L", (64, 64))
    x = np.asarray(image.convert("L").resize((32, 32), Image.BOX), np.float32)
    flat = (x - x.mean()) / max(1e-3, np.linalg.norm(x - x.mean()))
    return flat.ravel(), flat[:, ::-1].ravel()


def distinct(paths, pool):
    """Whether each picture is unlike all kept ones before it: a correlation below 0.9."""
    both = np.array(list(pool.map(thumb, paths, chunksize=64)))
    upright, kept = np.ascontiguousarray(both[:, 0]), np.zeros(len(paths), bool)
    for start in range(0, len(paths), 512):
        block = both[start : start + 512]
        like = (block[:, 0] @ upright.T >= 0.9) | (block[:, 1] @ upright.T >= 0.9)
        for row in range(len(block)):
            kept[start + row] = not like[row, : start + row][kept[: start + row]].any()
    return kept


def main():
    if sys.argv[1] == "--check":
        found = hashlib.sha256(Path(sys.argv[2]).read_bytes()).hexdigest()
        print("the list of the weights" if found == LIST else f"another list: {found}")
        sys.exit(found != LIST)
    parse = argparse.ArgumentParser()
    parse.add_argument("pictures", type=Path)
    parse.add_argument("list", type=Path)
    parse.add_argument("--have")
    options = parse.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)
    rows, seen = [], set()
    with ProcessPoolExecutor(2) as pool:
        for source in csv.DictReader(open(Path(__file__).parent / "sources.csv")):
            folder = repository(source["repository"], source["commit"], options.have)
            drawn = draw(source, folder)
            jobs = [(folder, row[4], options.pictures / f"{row[4]}.jpg") for row in drawn]
            good = [row for row, stored in zip(drawn, pool.map(store, jobs, chunksize=16)) if stored]
            print(f"{len(good):5} of {len(drawn):5} stored: {source['repository']}", flush=True)
            rows += good
        rows = [row for row in sorted(rows) if not (row[4] in seen or seen.add(row[4]))]
        kept = distinct([options.pictures / f"{row[4]}.jpg" for row in rows], pool)
    with open(options.list, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["repository", "licence", "commit", "path", "blob"])
        out.writerows(row for row, good in zip(rows, kept) if good)
    print(f"{int(kept.sum())} of {len(rows)} pictures, the others are like these")


if __name__ == "__main__":
    main()
