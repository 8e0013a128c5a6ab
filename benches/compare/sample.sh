#!/usr/bin/env bash
# A balanced draw, ours (the sample stage: three levels of clusters, allocated from the top down) against pandas of PyPI (level 1 alone: a
# shuffle and a cumulative count by cluster), from the same Parquet tables to Parquet.
# The last line: ratio = the peer's seconds over ours (above 1: ours is faster); quality = our data set's size over the target.
# usage: sample.sh [--quick]
set -euo pipefail
bench=pool
source "$(dirname "$0")/common.sh"

if [ -n "$quick" ]; then n=1000000 target=100000; else n=10000000 target=1000000; fi
"$python" -c 'import pandas, pyarrow' 2>/dev/null || "$work/venv/bin/pip" install -q --disable-pip-version-check pandas pyarrow
"$ours" sample "$work/sample-$n" $n $target | tee "$work/sample.said"
a=$(sed -n 's/^seconds=\([0-9.]*\).*/\1/p' "$work/sample.said")
size=$(sed -n 's/^seconds=.* size=\([0-9]*\)/\1/p' "$work/sample.said")
peer=$("$python" "$repo/benches/compare/peer.py" sample "$work/sample-$n" $n $target)
echo "pandas: $peer"
awk -v a="$a" -v b="$(echo "$peer" | sed -n 's/^seconds=\([0-9.]*\).*/\1/p')" -v size="$size" -v target=$target \
    'BEGIN { printf "sample ratio=%.2f quality=%.6f ours=%.2fs peer=%.2fs\n", b / a, size / target, a, b }'
