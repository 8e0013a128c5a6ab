#!/usr/bin/env bash
# Copy detection by cells, ours (all phases of the join, from Parquet to edges) against faiss-cpu's inverted file at the same recall of
# the pairs over the floor, on 2 threads each, on vectors with planted copies half of which are just above the floor.
# The last line: ratio = the peer's seconds over ours (above 1: ours is faster); quality = our recall, against comparing every pair of
# 2,000 images with all. The peer's search is timed on 2,000 images and scaled. usage: dedup.sh [--quick]
set -euo pipefail
bench=pool
source "$(dirname "$0")/common.sh"

d=512 floor=0.6
if [ -n "$quick" ]; then n=100000; else n=1000000; fi
pool=$work/pool-$n
make_pool clouds
"$ours" speed $d
"$ours" join "$pool" "threshold = 0.7
edge_floor = $floor
exact_up_to = 0" | tee "$pool/said"
"$ours" exact "$pool" 2000 $floor | tee "$pool/recall"
seconds=$(sed -n 's/^rows=.* seconds=\([0-9.]*\).*/\1/p' "$pool/said")
recall=$(sed -n 's/.* recall=\([0-9.]*\).*/\1/p' "$pool/recall")
peer=$("$python" "$repo/benches/compare/peer.py" join "$pool/vectors.f32" $d 64 $floor "$recall" 2000)
echo "faiss-cpu: $peer"
awk -v a="$seconds" -v b="$(echo "$peer" | seconds_of)" -v quality="$recall" -v n=$n \
    'BEGIN { printf "dedup ratio=%.2f quality=%s rows=%d ours=%.1fs peer=%.1fs\n", b / a, quality, n, a, b }'
