#!/usr/bin/env bash
# Exact nearest neighbours by inner product, ours against faiss-cpu of PyPI, on 2 threads each, in turn; medians.
# The last line: ratio = the peer's seconds over ours (above 1: ours is faster); quality = the fraction of neighbours
# that are the peer's, or equal in similarity to the peer's at that place within 1e-5. usage: knn.sh [--quick]
set -euo pipefail
source "$(dirname "$0")/common.sh"

if [ -n "$quick" ]; then queries=512 base=20000 d=128 k=16; else queries=4096 base=100000 d=512 k=64; fi
"$python" "$repo/benches/compare/peer.py" vectors "$work/queries.f32" $queries $d 1000 100 1
"$python" "$repo/benches/compare/peer.py" vectors "$work/base.f32" $base $d 1000 100 2

for _ in $(seq $rounds); do
    a=$("$ours" knn "$work/queries.f32" "$work/base.f32" $d $k "$work/ours.u32" | seconds_of)
    b=$("$python" "$repo/benches/compare/peer.py" knn "$work/queries.f32" "$work/base.f32" $d $k "$work/peer.u32" | seconds_of)
    echo "knn $queries x $base x $d, k=$k: ours $a s, faiss-cpu $b s"
    echo "$a" >&3
    echo "$b" >&4
done 3>"$work/ours.seconds" 4>"$work/peer.seconds"

quality=$("$python" "$repo/benches/compare/peer.py" same "$work/queries.f32" "$work/base.f32" $d $k "$work/ours.u32" "$work/peer.u32")
awk -v a="$(median <"$work/ours.seconds")" -v b="$(median <"$work/peer.seconds")" -v quality="$quality" \
    'BEGIN { printf "knn ratio=%.3f quality=%s ours=%.3fs peer=%.3fs\n", b / a, quality, a, b }'
