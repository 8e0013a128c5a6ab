#!/usr/bin/env bash
# The embed stage (JPEG to fp16 vectors) on 2 threads, against the same model in Python: onnxruntime with Pillow and a threaded loader,
# and torch; with OpenVINO, too, on x86-64. Each peer gets the best of three batch sizes; an untrained ViT of the sizes of DINOv2-S unless MODEL=FILE.onnx is
# given (then without torch). PHOTOS=FOLDER: the JPEGs, by default those of the built-in example.
# The last line: ratio = onnxruntime's seconds over ours (above 1: ours is faster); quality = the least cosine to its vectors.
# usage: embed.sh [--quick]
set -euo pipefail
bench=pool
source "$(dirname "$0")/common.sh"
[ -n "$quick" ] && rounds=1 || rounds=3
peer() { "$python" "$repo/benches/compare/peer_embed.py" "$@"; }

"$python" -c 'import onnx, onnxruntime, onnxscript, PIL, pyarrow, torch' 2>/dev/null ||
    "$work/venv/bin/pip" install -q --disable-pip-version-check onnx onnxruntime onnxscript pillow pyarrow torch
# The package has the name of the other one inside, so it lies apart.
openvino=$work/openvino
if [ "$(uname -m)" = x86_64 ] && [ ! -e "$openvino/whole" ]; then
    "$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps --target "$openvino" onnxruntime-openvino
    touch "$openvino/whole"
fi
library=$(find "$openvino" -name 'libonnxruntime.so.*' 2>/dev/null | head -n 1)
cargo build --release --locked --quiet --manifest-path "$repo/Cargo.toml"
lvd=$CARGO_TARGET_DIR/release/lvd

folder=$work/embed
rm -rf "$folder"
mkdir -p "$folder/photos"
if [ -z "${PHOTOS:-}" ]; then
    "$lvd" example "$folder/example" >"$folder/said"
    PHOTOS=$folder/example/pool
fi
[ -n "$quick" ] && most=100 || most=300
find "$(realpath "$PHOTOS")" -iname '*.jp*g' | sort | awk -v most=$most '{ all[NR] = $0 } END { for (i = 0; i < most && i < NR; i++) print all[int(i * NR / (most < NR ? most : NR)) + 1] }' |
    awk -v folder="$folder/photos" '{ printf "%s\n%s/%06d.jpg\n", $0, folder, NR }' | xargs -d '\n' -n 2 cp
if [ -n "${MODEL:-}" ]; then
    cp "$MODEL" "$folder/model.onnx"
else
    peer make "$folder/model.onnx" "$folder/weights.pt" >"$folder/said" 2>&1
fi
peer quantise "$folder/model.onnx" "$folder/int8.onnx" >"$folder/said" 2>&1
for name in model int8; do
    cat >"$folder/$name.toml" <<TOML
work = "$name"
[sources.photos]
folder = "photos"
[embedders.vit]
model = "$name.onnx"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
resize = 256
crop = 224
[steps.ingest]
drop_exact_duplicates = false
[steps.embed]
TOML
    "$lvd" ingest --quiet "$folder/$name.toml" --threads 2
done
images=$(find "$folder/photos" -name '*.jpg' | wc -l)

# Ours: the seconds of the stage's tasks, from opening the models to the published part.
embed() { # work folder, provider
    rm -rf "$folder/$1/embed"
    "$lvd" embed --quiet "$folder/$1.toml" --threads 2 --set "embed.providers=[\"${2:-cpu}\"]"
    "$lvd" report "$folder/$1.toml" embed --json | sed -n 's/^ *"seconds": \([0-9.]*\),*/seconds=\1/p' | seconds_of
}
for _ in $(seq $rounds); do
    embed model >&3
    peer onnxruntime "$folder/model.onnx" "$folder/photos" "$folder/onnxruntime.npy" | seconds_of >&4
    embed int8 >&5
    if [ -e "$folder/weights.pt" ]; then peer torch "$folder/weights.pt" "$folder/photos" "$folder/torch.npy" | seconds_of >&6; fi
done 3>"$folder/ours" 4>"$folder/onnxruntime" 5>"$folder/int8s" 6>"$folder/torch"
"$lvd" embed --bench "$folder/model.toml" --threads 2 2>/dev/null
# Before the vectors of these go the way of the first.
tables() { find "$folder/$1/embed/vit" -name '*.parquet'; }
cp "$(tables model)" "$folder/fp32.parquet"
if [ -n "$library" ]; then
    for _ in $(seq $rounds); do
        ORT_DYLIB_PATH=$library embed model openvino >&3
        PYTHONPATH=$openvino peer openvino "$folder/model.onnx" "$folder/photos" "$folder/openvino.npy" | seconds_of >&4
        if grep -qw avx512_bf16 /proc/cpuinfo; then ORT_DYLIB_PATH=$library embed model openvino_bf16 >&5; fi
    done 3>"$folder/openvinos" 4>"$folder/openvino_peer" 5>"$folder/bf16s"
fi

a=$(median <"$folder/ours") b=$(median <"$folder/onnxruntime") c=$(median <"$folder/int8s") d=$(median <"$folder/torch")
quality=$(peer cosine "$folder/fp32.parquet" "$folder/onnxruntime.npy")
echo "$images photos: ours $a s, onnxruntime $b s; our cosines to it: $quality"
if [ -e "$folder/weights.pt" ]; then
    echo "torch $d s: ratio $(awk -v a="$a" -v d="$d" 'BEGIN { printf "%.2f", d / a }'); our cosines to it: $(peer cosine "$folder/fp32.parquet" "$folder/torch.npy")"
fi
echo "int8 $c s: ratio of our fp32 to it $(awk -v a="$a" -v c="$c" 'BEGIN { printf "%.2f", a / c }'); cosines to fp32: $(peer cosine "$(tables int8)" "$folder/fp32.parquet")"
if [ -n "$library" ]; then
    e=$(median <"$folder/openvinos") f=$(median <"$folder/openvino_peer")
    awk -v a="$a" -v b="$b" -v e="$e" -v f="$f" \
        'BEGIN { printf "OpenVINO: ours %.2f s, onnxruntime with it %.2f s (ratio %.2f), onnxruntime without it (ratio %.2f), ours without it (ratio %.2f)\n", e, f, f / e, b / e, a / e }'
fi
if [ -s "$folder/bf16s" ]; then
    g=$(median <"$folder/bf16s")
    echo "bf16 $g s: ratio of our fp32 to it $(awk -v a="$a" -v g="$g" 'BEGIN { printf "%.2f", a / g }'); cosines to fp32: $(peer cosine "$(tables model)" "$folder/fp32.parquet")"
fi
awk -v a="$a" -v b="$b" -v quality="${quality#least=}" -v n="$images" \
    'BEGIN { sub(/ .*/, "", quality); printf "embed ratio=%.3f quality=%s images=%d ours=%.2fs peer=%.2fs\n", b / a, quality, n, a, b }'
