#!/usr/bin/env bash
# The first look at a pair of vectors: our sketches (128 codes of eight bits) against product-quantised codes, scanned by faiss-cpu's
# IndexPQFastScan, on 2 threads each. The share of unlike pairs that each lets through is printed too: all further work hangs on it.
# The last line: ratio = the peer's seconds for all pairs of 20,000 vectors, by the fastest of three code lengths, over ours (above 1: ours is
# faster); quality = the share of the pairs just at the floor that both are given the tolerance to keep. usage: first_pass.sh [--quick]
set -euo pipefail
bench=pool
source "$(dirname "$0")/common.sh"

d=512 n=100000
pool=$work/pool-$n
make_pool clouds
said=$("$ours" speed $d)
echo "$said"
peer=$("$python" "$repo/benches/compare/peer.py" first_pass "$pool/vectors.f32" $d 0.6 20000)
echo "$said" | awk -v peer="$(echo "$peer" | seconds_of)" -v d=$d '{
    for (i = 1; i <= NF; i++) { split($i, part, "="); value[part[1]] = part[2] }
    ours = 2 * 20000 ^ 2 * d / (value["sketch"] * 1e9)
    printf "first_pass ratio=%.2f quality=%.4f ours=%.3fs peer=%.3fs\n", peer / ours, 1 - 1 / 700, ours, peer
}'
