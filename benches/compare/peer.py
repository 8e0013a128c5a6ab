"""The peer's side of knn.sh, kmeans.sh and dedup.sh: makes vectors, runs faiss-cpu, compares answers. Prints seconds like ours."""
import sys
import time

import numpy as np


def vectors(path, n, d, clusters, noise, seed):
    """Unit vectors around centres that are the same for every seed; `noise` is in percent of a centre's norm."""
    centres = np.random.default_rng(0).standard_normal((clusters, d), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    draw = np.random.default_rng(seed)
    rows = centres[draw.integers(0, clusters, n)]
    rows += draw.standard_normal((n, d), dtype=np.float32) * np.float32(noise / 100 / np.sqrt(d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows.tofile(path)


def read(path, d):
    return np.fromfile(path, np.float32).reshape(-1, d)


def knn(queries, base, d, k, out):
    import faiss

    queries, base = read(queries, d), read(base, d)
    faiss.knn(queries[:256], base[:2048], k, metric=faiss.METRIC_INNER_PRODUCT)  # starts threads and buffers
    start = time.perf_counter()
    index = faiss.IndexFlatIP(d)
    index.add(base)
    _, rows = index.search(queries, k)
    print(f"seconds={time.perf_counter() - start}")
    rows.astype(np.uint32).tofile(out)


def kmeans(points, d, k, iterations, seed, out):
    import faiss

    points = read(points, d)
    faiss.knn(points[:256], points[:2048], 1)  # starts threads and buffers
    trainer = faiss.Kmeans(d, k, niter=iterations, seed=seed, max_points_per_centroid=len(points))
    start = time.perf_counter()
    trainer.train(points)
    print(f"seconds={time.perf_counter() - start}")
    trainer.centroids.tofile(out)


def join(points, d, k, floor, recall, sample):
    """The self-join by an inverted file: the fewest probes that find `recall` of the pairs over the floor of some images. All of
    training and adding; the search of the sample, times what it is a sample of."""
    import faiss

    points, floor = read(points, d), float(floor)
    n = len(points)
    rows = np.random.default_rng(1).choice(n, min(sample, n), replace=False)
    flat = faiss.IndexFlatIP(d)
    flat.add(points)
    true_similarities, truth = flat.search(points[rows], k + 1)
    del flat
    start = time.perf_counter()
    index = faiss.index_factory(d, f"IVF{4 * int(n**0.5)},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid, index.cp.niter = 39, 10
    index.train(points)
    index.add(points)
    built = time.perf_counter() - start
    wanted = (true_similarities >= floor) & (truth != rows[:, None])
    for probes in (2**power for power in range(14)):
        index.nprobe = probes
        start = time.perf_counter()
        _, found = index.search(points[rows], k + 1)
        searched = (time.perf_counter() - start) * n / len(rows)
        hit = [len(np.intersect1d(t[w], f)) for t, w, f in zip(truth, wanted, found)]
        got = sum(hit) / max(wanted.sum(), 1)
        print(f"faiss-cpu nprobe={probes}: recall {got:.4f} of {wanted.sum()} pairs, "
              f"built in {built:.1f} s, searching all would take {searched:.1f} s", file=sys.stderr)
        if got >= float(recall) or probes >= index.nlist:
            break
    print(f"seconds={built + searched} recall={got:.4f}")


def same(queries, base, d, k, ours, theirs):
    queries, base = read(queries, d), read(base, d)
    ours, theirs = (np.fromfile(path, np.uint32).reshape(-1, k) for path in (ours, theirs))
    equal = ours == theirs
    for query in np.flatnonzero(~equal.all(axis=1)):
        exact = queries[query].astype(np.float64)
        gap = np.abs(base[ours[query]].astype(np.float64) @ exact - base[theirs[query]].astype(np.float64) @ exact)
        equal[query] |= gap < 1e-5
    print(f"{equal.mean():.6f}")


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    arguments = [int(argument) if argument.isdigit() else argument for argument in arguments]
    {"vectors": vectors, "knn": knn, "kmeans": kmeans, "join": join, "same": same}[name](*arguments)
