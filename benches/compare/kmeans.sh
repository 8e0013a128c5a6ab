#!/usr/bin/env bash
# k-means: with random first centroids, ours against faiss-cpu of PyPI, on 2 threads each, in turn; medians. Then once with greedy k-means++
# against the same in torch of PyPI.
# The last line: ratio = the peer's seconds over ours (above 1: ours is faster); quality = our potential over the
# peer's, both computed by us from the trained centroids, averaged over seeds (below 1: ours is better).
# usage: kmeans.sh [--quick]
set -euo pipefail
source "$(dirname "$0")/common.sh"

if [ -n "$quick" ]; then points=20000 d=128 k=200; else points=100000 d=384 k=1000; fi
iterations=10
# More clouds than clusters, and noise: ours stops once an assignment repeats, which must not happen here.
"$python" "$repo/benches/compare/peer.py" vectors "$work/points.f32" $points $d $((3 * k)) 150 3

potential_of() { "$ours" potential "$work/points.f32" "$1" $d | sed -n 's/potential=//p'; }
for seed in $(seq $rounds); do
    said=$("$ours" kmeans "$work/points.f32" $d $k $iterations "$seed" random "$work/ours.centroids")
    case $said in *" iterations=$iterations "*) ;; *) echo "$0: ours stopped early: $said" >&2; exit 1 ;; esac
    a=$(echo "$said" | seconds_of)
    b=$("$python" "$repo/benches/compare/peer.py" kmeans "$work/points.f32" $d $k $iterations "$seed" "$work/peer.centroids" | seconds_of)
    p=$(potential_of "$work/ours.centroids")
    q=$(potential_of "$work/peer.centroids")
    echo "kmeans $points x $d, k=$k, $iterations iterations, seed $seed: ours $a s, potential $p; faiss-cpu $b s, potential $q"
    echo "$a" >&3
    echo "$b" >&4
    echo "$p $q" >&5
done 3>"$work/ours.seconds" 4>"$work/peer.seconds" 5>"$work/potentials"

if ! "$python" -c 'import torch' 2>/dev/null; then
    "$work/venv/bin/pip" install -q --disable-pip-version-check torch
fi
said=$("$ours" kmeans "$work/points.f32" $d $k $iterations 1 plusplus "$work/ours.centroids")
a=$(echo "$said" | seconds_of)
said=$("$python" "$repo/benches/compare/peer.py" kmeans_torch "$work/points.f32" $d $k $iterations 1 "$work/peer.centroids")
b=$(echo "$said" | sed -n 's/^seconds=\([0-9.]*\).*/\1/p')
p=$(potential_of "$work/ours.centroids")
q=$(potential_of "$work/peer.centroids")
awk -v a="$a" -v b="$b" -v p="$p" -v q="$q" \
    'BEGIN { printf "k-means++: ours %.2f s, torch %.2f s, ratio %.2f; potential over torch'"'"'s %.5f\n", a, b, b / a, p / q }'

quality=$(awk '{ sum += $1 / $2 } END { printf "%.5f", sum / NR }' "$work/potentials")
awk -v a="$(median <"$work/ours.seconds")" -v b="$(median <"$work/peer.seconds")" -v quality="$quality" \
    'BEGIN { printf "kmeans ratio=%.3f quality=%s ours=%.3fs peer=%.3fs\n", b / a, quality, a, b }'
