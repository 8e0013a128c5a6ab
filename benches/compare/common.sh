# Shared by the scripts beside it: the folder, the peer in a virtual environment of its own, our program, medians.
# Sourced, not run.
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lvd
work=$cache/compare
python=$work/venv/bin/python
rounds=5
mkdir -p "$work"

case ${1:-} in
    '') quick= ;;
    --quick) quick=1 rounds=3 ;;
    *) echo "usage: $0 [--quick]     --quick: small sizes, as a check that the comparison works" >&2; exit 2 ;;
esac

if ! "$python" -c 'import faiss, numpy' 2>/dev/null; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q --disable-pip-version-check faiss-cpu numpy
fi

# Both sides get two threads and the same BLAS kernel: the wheel's OpenBLAS may know the processor no better than the system's.
export OMP_NUM_THREADS=2 RAYON_NUM_THREADS=2
if [ -z "${OPENBLAS_CORETYPE:-}" ]; then
    flags=" $(sed -n 's/^flags.*: //p' /proc/cpuinfo | head -n 1) "
    case $flags in
        *" avx512bw "*) export OPENBLAS_CORETYPE=SkylakeX ;;
        *" avx2 "*) export OPENBLAS_CORETYPE=Haswell ;;
    esac
fi

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
bench=${bench:-compare}
ours=$(cargo bench --locked --manifest-path "$repo/Cargo.toml" --workspace --bench "$bench" --no-run --message-format json 2>/dev/null |
    sed -n 's/.*"name":"'"$bench"'".*"executable":"\([^"]*\)".*/\1/p')
[ -x "$ours" ] || { echo "$0: our program does not build: cargo bench --workspace --bench $bench --no-run" >&2; exit 1; }

seconds_of() { sed -n 's/.*seconds=\([0-9.e-]*\).*/\1/p'; }
median() { sort -g | awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }

# The folder $pool with $n made-up vectors of $d numbers, unless it is there.
make_pool() {
    [ ! -e "$pool/whole" ] || return 0
    rm -rf "$pool"
    "$ours" make "$pool" "$n" "$d" 1 "$1"
    "$ours" raw "$pool" "$pool/vectors.f32"
    touch "$pool/whole"
}
