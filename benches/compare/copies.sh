#!/usr/bin/env bash
# Edited copies among photos, files to pairs, on 2 cores: ingest, embed and dedup, against the hashes of imagededup and SemDeDup's
# clusters on our vectors. Every fourth photo has eight edits (half size and quality 30, blur, brighter, gray, two crops, text, border).
# WHITEN=1: our vectors are whitened. Each gets its own best threshold; one that was chosen on the answers is optimistic for all.
# PHOTOS=FOLDER of JPEGs must be given. MODEL=FILE.onnx is an encoder of 224 pixels with ImageNet's mean and deviation; left out: the
# one in the box. crates/encoders/train/judge.py compares encoders by themselves, edit by edit.
# The last line: ratio = PHash's seconds over ours; quality = our best F1 over PHash's. usage: copies.sh [--quick]
set -euo pipefail
bench=pool
source "$(dirname "$0")/common.sh"
: "${PHOTOS:?a folder of JPEGs}"
peer() { "$python" "$repo/benches/compare/peer_copies.py" "$@"; }

"$python" -c 'import imagededup, pyarrow, PIL' 2>/dev/null ||
    "$work/venv/bin/pip" install -q --disable-pip-version-check torch torchvision imagededup pyarrow pillow
cargo build --release --locked --quiet --manifest-path "$repo/Cargo.toml"
lvd=$CARGO_TARGET_DIR/release/lvd

folder=$work/copies
rm -rf "$folder"
mkdir -p "$folder/photos"
[ -n "$quick" ] && most=300 || most=2000
peer make "$PHOTOS" "$folder/photos" $most
dedup='edge_floor = 0.3' embedders=
if [ -n "${MODEL:-}" ]; then
    cp "$MODEL" "$folder/model.onnx"
    dedup=$'threshold = 0.8\nedge_floor = 0.5'
    embedders='[embedders.encoder]
model = "model.onnx"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
resize = 224'
else
    embedders='[embedders.encoder]
model = "builtin:copy"'
fi
if [ -n "${WHITEN:-}" ]; then dedup=$'whiten = true\nthreshold = 0.5\nedge_floor = 0.3'; fi
cat >"$folder/copies.toml" <<TOML
work = "work"
[sources.photos]
folder = "photos"
$embedders
[steps.ingest]
drop_exact_duplicates = false
[steps.embed]
[steps.dedup]
$dedup
TOML
start=$(date +%s%N)
"$lvd" run --quiet "$folder/copies.toml" --threads 2 >"$folder/said"
seconds=$(awk -v from="$start" -v to="$(date +%s%N)" 'BEGIN { print (to - from) / 1e9 }')
{
    peer ours "$folder/work" "$seconds"
    peer hashes "$folder/photos" 2>"$folder/errors"
    peer semdedup "$folder/work"
} | tee "$folder/scores"
f1() { sed -n "s/^$1: .*F1=\([0-9.]*\).*/\1/p" "$folder/scores"; }
awk -v a="$seconds" -v b="$(grep '^imagededup PHash' "$folder/scores" | seconds_of)" -v ours="$(f1 lvd)" -v peer="$(f1 'imagededup PHash')" \
    -v n="$(ls "$folder/photos" | wc -l)" \
    'BEGIN { printf "copies ratio=%.3f quality=%.3f images=%d ours=%.1fs peer=%.1fs\n", b / a, ours / peer, n, a, b }'
