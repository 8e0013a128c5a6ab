"""The peer's side of knn.sh, kmeans.sh, dedup.sh, first_pass.sh and others: makes vectors, runs faiss-cpu, compares answers. Prints seconds like ours."""
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


def kmeans_torch(points, d, k, iterations, seed, out):
    """Greedy k-means++ with 2 + ln k candidates a step, all in one product, then Lloyd, as one would write it with torch."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(seed)
    points = torch.from_numpy(read(points, d))
    (points[:512] @ points[:512].T).sum()  # starts threads and buffers
    start = time.perf_counter()
    squares = (points * points).sum(1)
    candidates = 2 + int(np.log(k))
    centroids = torch.empty(k, d)
    centroids[0] = points[torch.randint(len(points), (1,))]
    least = (squares - 2 * (points @ centroids[0]) + centroids[0] @ centroids[0]).clamp_(min=0)
    for step in range(1, k):
        # multinomial takes up to 2^24 weights; it draws without replacement, which changes little.
        tried = torch.multinomial(least, candidates)
        distances = squares[:, None] - 2 * (points @ points[tried].T) + squares[tried][None, :]
        distances = torch.minimum(distances.clamp_(min=0), least[:, None])
        best = distances.sum(0).argmin()
        centroids[step], least = points[tried[best]], distances[:, best].clone()
    began = time.perf_counter() - start
    for _ in range(iterations):
        half = 0.5 * (centroids * centroids).sum(1)
        nearest = torch.cat([(some @ centroids.T - half).argmax(1) for some in points.split(8192)])
        sums = torch.zeros(k, d, dtype=torch.float64).index_add_(0, nearest, points.double())
        counts = torch.bincount(nearest, minlength=k)
        full = counts > 0
        centroids[full] = (sums[full] / counts[full, None]).float()
    print(f"seconds={time.perf_counter() - start} first_centroids={began}")
    centroids.numpy().tofile(out)


def retrieve(pool, queries, d, k, ours, recall):
    """Flat search, then an inverted file with the fewest probes that find the wanted share of its neighbours; whether ours, pairs of
    seed and pool row as ids, are the same."""
    import faiss

    pool, queries = read(pool, d), read(queries, d)
    faiss.knn(queries[:256], pool[:2048], k, metric=faiss.METRIC_INNER_PRODUCT)
    start = time.perf_counter()
    flat = faiss.IndexFlatIP(d)
    flat.add(pool)
    similarities, truth = flat.search(queries, k)
    print(f"flat seconds={time.perf_counter() - start}")
    del flat
    start = time.perf_counter()
    index = faiss.index_factory(d, f"IVF{4 * int(len(pool) ** 0.5)},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid, index.cp.niter = 64, 10
    index.train(pool)
    index.add(pool)
    built = time.perf_counter() - start
    probes, got = 1, 0.0
    while True:
        index.nprobe = probes
        start = time.perf_counter()
        _, found = index.search(queries, k)
        searched = time.perf_counter() - start
        got = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(truth, found)])
        if got >= float(recall) or probes >= index.nlist:
            break
        probes = min(probes + -(-probes // 2), index.nlist)
    print(f"ivf seconds={built + searched} nprobe={probes} recall={got:.4f} built={built:.2f}")
    # An id is data set, shard and row; shards hold 100,000.
    pairs = np.fromfile(ours, np.uint64).reshape(-1, 2)
    seeds, images = pairs[:, 0] & 0xFFFFFF, ((pairs[:, 1] >> 24) & 0xFFFFFF) * 100_000 + (pairs[:, 1] & 0xFFFFFF)
    want = {(seed, int(row)) for seed in range(len(queries)) for row in truth[seed]}
    have = set(zip(seeds.tolist(), images.tolist()))
    print(f"ours recall={len(want & have) / len(want):.6f} of {len(want)}")


def sample(folder, n, target):
    """A balanced draw of level-1 clusters with pandas from the same tables: one level where ours balances three."""
    import pandas as pd
    import pyarrow.dataset as ds

    start = time.perf_counter()
    table = ds.dataset(f"{folder}/assigned", format="parquet").to_table(columns=["id", "cluster"]).to_pandas()
    sizes = np.sort(table["cluster"].value_counts().to_numpy())
    left, groups = target, len(sizes)
    for size in sizes:
        if size * groups > left:
            break
        left, groups = left - size, groups - 1
    level = left // max(groups, 1)
    shuffled = table.sample(frac=1.0, random_state=1)
    chosen = shuffled[shuffled.groupby("cluster").cumcount() < level].sort_values("id")
    chosen.to_parquet(f"{folder}/peer.parquet")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"seconds={time.perf_counter() - start} size={len(chosen)} peak={peak}MiB")


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


def first_pass(points, d, floor, n):
    """A scan of product-quantised codes, four bits each, as the first look at pairs: how fast it is, and what share of unlike pairs a
    tolerance lets through that loses one near pair in 700."""
    import faiss

    points, floor = read(points, d), float(floor)
    base = points[:n]
    exact = faiss.IndexFlatIP(d)
    exact.add(points)
    cosines, rows = exact.search(points[:4000], 5)
    near = (cosines >= floor - 0.05) & (cosines < 0.75) & (rows != np.arange(4000)[:, None])
    queries, rows, cosines = np.nonzero(near)[0], rows[near], cosines[near]
    unlike = points[:2000], points[n : n + 10_000]
    best = None
    for parts in (d // 8, d // 4, d // 2):
        codes = faiss.IndexPQ(d, parts, 4, faiss.METRIC_INNER_PRODUCT)
        codes.train(points)
        codes.add(points)
        decoded = codes.reconstruct_n(0, len(points))
        off = cosines - np.einsum("ij,ij->i", points[queries], decoded[rows])
        lets_through = float((unlike[0] @ decoded[n : n + 10_000].T >= floor - np.quantile(off, 1 - 1 / 700)).mean())
        scan = faiss.IndexPQFastScan(d, parts, 4, faiss.METRIC_INNER_PRODUCT)
        scan.train(points)
        scan.add(base)
        scan.search(base[:1000], 1)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            scan.search(base, 1)
            times.append(time.perf_counter() - start)
        ns = sorted(times)[1] / n**2 * 1e9
        print(f"PQ {parts} x 4 bits: {ns:.3f} ns a pair, {lets_through:.5f} let through ({len(off)} near pairs)", file=sys.stderr)
        best = min(filter(None, [best, ns]))
    print(f"seconds={best / 1e9 * n**2}")


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
    commands = [vectors, knn, kmeans, kmeans_torch, retrieve, sample, join, first_pass, same]
    next(command for command in commands if command.__name__ == name)(*arguments)
