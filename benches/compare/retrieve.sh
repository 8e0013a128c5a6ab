#!/usr/bin/env bash
# Neighbours of seeds in a pool, ours (the retrieve stage, from Parquet to Parquet) against faiss-cpu of PyPI (from raw f32 in memory), on 2
# threads each: flat search against flat, inverted lists against inverted lists of the same recall.
# Vectors that vary in a quarter of their dimensions, as those of encoders do. The last line: ratio = the peer's seconds over ours for flat search (above 1: ours is faster); quality = the share of the peer's
# neighbours that ours are. usage: retrieve.sh [--quick]
set -euo pipefail
bench=pool
source "$(dirname "$0")/common.sh"

k=4 d=512
if [ -n "$quick" ]; then n=100000 seeds=1000; else n=1000000 seeds=10000; fi
pool=$work/narrow-$n
make_pool narrow
"$ours" seeds "$pool" $seeds "$pool/seeds.f32"
settings='copy_similarity = 2.0
collisions = "twice"'
"$ours" retrieve "$pool" $k "$settings
search = \"ivf\"" | tee "$pool/listed"
listed=$(sed -n 's/^seconds=\([0-9.]*\).*/\1/p' "$pool/listed")
cp "$pool/retrieved.u64" "$pool/listed.u64"
"$ours" retrieve "$pool" $k "$settings
search = \"exact\"" | tee "$pool/exact"
exact=$(sed -n 's/^seconds=\([0-9.]*\).*/\1/p' "$pool/exact")
"$python" "$repo/benches/compare/peer.py" retrieve "$pool/vectors.f32" "$pool/seeds.f32" $d $k "$pool/retrieved.u64" 0.99 | tee "$pool/peer"
flat=$(sed -n 's/^flat seconds=\([0-9.]*\).*/\1/p' "$pool/peer")
ivf=$(sed -n 's/^ivf seconds=\([0-9.]*\).*/\1/p' "$pool/peer")
quality=$(sed -n 's/^ours recall=\([0-9.]*\).*/\1/p' "$pool/peer")
lists=$("$python" - "$pool" <<'END'
import sys
import numpy as np
listed, exact = (np.fromfile(f"{sys.argv[1]}/{name}.u64", np.uint64).reshape(-1, 2) for name in ("listed", "retrieved"))
print(f"{len(set(map(tuple, listed.tolist())) & set(map(tuple, exact.tolist()))) / len(exact):.4f}")
END
)
awk -v a="$listed" -v b="$ivf" -v q="$lists" 'BEGIN { printf "ivf: ours %.2f s at recall %s, faiss-cpu %.2f s, ratio %.2f\n", a, q, b, b / a }'
awk -v a="$exact" -v b="$flat" -v quality="$quality" \
    'BEGIN { printf "retrieve ratio=%.3f quality=%s ours=%.2fs peer=%.2fs\n", b / a, quality, a, b }'
