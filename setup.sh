#!/usr/bin/env bash
# Puts in place what building and running lvd needs on Debian 12/13 or Ubuntu 22.04/24.04, and nothing twice:
#   - by apt:  a C++ compiler, cmake 3.24 or later, nasm, OpenBLAS, certificates, and python3-pip where something comes by pip;
#   - by pip:  the shared library out of the onnxruntime wheel (and cmake where apt's is too old: Ubuntu 22.04).
# ONNX Runtime goes to $LVD_LIB_DIR, or ${XDG_DATA_HOME:-~/.local/share}/lvd/lib, where the program looks for it.
# usage: ./setup.sh [--check | --tests]     --check only tells what is missing, and exits with 1 if anything is;
#                                           --tests puts Slurm, Chromium and an S3 server (s3s-fs, by cargo) in place,
#                                           too, for the tests
set -euo pipefail

ort_version=1.32.0
cmake_minimum=3.24
rust_minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/Cargo.toml")
data_dir=${XDG_DATA_HOME:-${HOME:?HOME is not set}/.local/share}/lvd
lib_dir=${LVD_LIB_DIR:-$data_dir/lib}
cmake_dir=$data_dir/cmake
machine=$(uname -m)
s3_version=0.14.0
tests_dir=$data_dir/tests
# Before the others, since this one is only there where apt's is too old.
if [ -x "$cmake_dir/data/bin/cmake" ]; then export PATH=$cmake_dir/data/bin:$PATH; fi

fail() { # fact, cure
    printf 'setup: error: %s\n  hint: %s\n' "$1" "$2" >&2
    exit 1
}
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
has() { command -v "$1" >/dev/null 2>&1; }
links() { echo 'int main() {}' | c++ -x c++ - "$@" -o /dev/null 2>/dev/null; }
version_of_cmake() { cmake --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p'; }
cmake_is_new() { has cmake && at_least "$cmake_minimum" "$(version_of_cmake)"; }
ort_is_there() {
    if [ -n "${ORT_DYLIB_PATH:-}" ]; then [ -s "$ORT_DYLIB_PATH" ]; else [ -s "$lib_dir/libonnxruntime.so" ]; fi
}

case ${1:-} in
    '') check= tests= ;;
    --check) check=1 tests= ;;
    --tests) check= tests=1 ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

# Rust is the user's own affair: only said, never installed.
has cargo || fail "cargo is missing" "install Rust $rust_minimum or later: https://rustup.rs"
rust=$(cargo --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')
at_least "$rust_minimum" "$rust" ||
    fail "Rust $rust is too old: $rust_minimum or later is needed" "run 'rustup update', or install a newer Rust: https://rustup.rs"
case $machine in
    x86_64 | aarch64) ;;
    *) fail "ONNX Runtime has no wheel for $machine" "use a machine with an x86_64 or aarch64 processor" ;;
esac

packages=()
if ! { has c++ && has make && links; }; then packages+=(build-essential); fi
if ! links -lopenblas -lblas -llapack -lgomp; then packages+=(libopenblas-dev); fi
[ -e /etc/ssl/certs/ca-certificates.crt ] || has update-ca-certificates || packages+=(ca-certificates)
apt_works() { has apt-get && { [ "$(id -u)" -eq 0 ] || has sudo; }; }
# Without it libjpeg-turbo is built, and decodes the same, without vector instructions.
if [ "$machine" = x86_64 ] && ! has nasm; then
    if apt_works; then packages+=(nasm); else echo "setup: nasm is left out, decoding JPEGs will be slow: it takes apt and root"; fi
fi
# Slurm and Chromium are for tests alone: where they cannot be had, they say so and are skipped.
if [ -n "$tests" ]; then
    if ! apt_works; then
        echo "setup: Slurm and Chromium are left out, their tests will be skipped: they take apt and root"
    else
        for package in slurmctld slurmd slurm-client munge; do
            [ -e "/usr/share/doc/$package" ] || packages+=("$package")
        done
        # Ubuntu has Chromium as a snap only, which containers cannot run.
        if grep -q '^ID=debian' /etc/os-release 2>/dev/null; then
            for package in chromium chromium-driver; do
                [ -e "/usr/share/doc/$package" ] || packages+=("$package")
            done
        elif ! has chromedriver; then
            echo "setup: Chromium is left out, the tests of pages in a browser will be skipped: install it and chromedriver by hand"
        fi
    fi
fi
by_pip=()
if ! cmake_is_new; then
    offered=$(has apt-cache && apt-cache policy cmake 2>/dev/null | sed -n 's/.*Candidate: \([0-9.]*\).*/\1/p' || true)
    # Lists not yet fetched offer nothing; the release then tells.
    if [ -z "$offered" ] && grep -q '^VERSION_ID="22.04"' /etc/os-release 2>/dev/null; then offered=3.22; fi
    if at_least "$cmake_minimum" "${offered:-$cmake_minimum}"; then packages+=(cmake); else by_pip+=(cmake); fi
fi
ort_is_there || by_pip+=(onnxruntime)
by_cargo=()
if [ -n "$tests" ] && ! { [ -x "$tests_dir/bin/s3s-fs" ] || has s3s-fs; }; then by_cargo+=(s3s-fs); fi
if [ ${#by_pip[@]} -gt 0 ] && ! python3 -m pip --version >/dev/null 2>&1; then packages+=(python3-pip); fi

if [ ${#packages[@]} -eq 0 ] && [ ${#by_pip[@]} -eq 0 ] && [ ${#by_cargo[@]} -eq 0 ]; then
    echo "setup: all in place: Rust $rust, cmake $(version_of_cmake), OpenBLAS, ONNX Runtime in ${ORT_DYLIB_PATH:-$lib_dir}"
    exit 0
fi
echo "setup: missing: by apt: ${packages[*]:-nothing}; by pip: ${by_pip[*]:-nothing}; by cargo: ${by_cargo[*]:-nothing}"
[ -z "$check" ] || exit 1

if [ ${#packages[@]} -gt 0 ]; then
    has apt-get || fail "this is no Debian or Ubuntu" "install by hand: ${packages[*]}"
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || fail "apt needs root, and there is no sudo" "as root: apt-get install ${packages[*]}"
        root=(sudo)
    fi
    echo "setup: apt-get install ${packages[*]}"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c '
        apt-get update -qq; apt-get install -y -qq --no-install-recommends "$@" >/dev/null' apt "${packages[@]}" ||
        fail "apt could not install ${packages[*]}" "check the network, a proxy or apt's sources, then run ./setup.sh again"
fi

if [ ${#by_cargo[@]} -gt 0 ]; then
    echo "setup: cargo install s3s-fs $s3_version, an S3 server for the tests"
    cargo install --quiet --locked --root "$tests_dir" --features binary --version "$s3_version" s3s-fs ||
        echo "setup: s3s-fs is left out, its tests will be skipped: cargo could not build it"
fi

# Fetches the wheel of $1 (with more arguments for pip) and unpacks it to $unpacked.
unpacked=
trap '[ -z "$unpacked" ] || rm -rf "$unpacked"' EXIT
fetch_wheel() {
    [ -z "$unpacked" ] || rm -rf "$unpacked"
    unpacked=$(mktemp -d)
    echo "setup: pip download $1"
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$unpacked" "$@" ||
        fail "pip could not fetch $1" "check the network, or pip's index and proxy ('python3 -m pip config list'), then run ./setup.sh again"
    python3 -m zipfile -e "$unpacked"/*.whl "$unpacked"
}

for package in ${by_pip[@]+"${by_pip[@]}"}; do
    case $package in
        cmake)
            fetch_wheel cmake
            chmod +x "$unpacked"/cmake/data/bin/*
            mkdir -p "$data_dir"
            rm -rf "$cmake_dir"
            mv "$unpacked/cmake" "$cmake_dir"
            export PATH=$cmake_dir/data/bin:$PATH
            echo "setup: cmake $(version_of_cmake) in $cmake_dir/data/bin; make finds it, for plain cargo put that on your PATH"
            ;;
        onnxruntime)
            # The library is the same in the wheels of all Python versions, so the one asked for need not be installed.
            fetch_wheel "onnxruntime==$ort_version" --platform "manylinux_2_28_$machine" --python-version 3.12 \
                --implementation cp --abi cp312
            library=libonnxruntime.so.$ort_version
            mkdir -p "$lib_dir"
            # Copied aside and renamed, so that a program never finds half a library.
            cp "$unpacked/onnxruntime/capi/$library" "$lib_dir/.$library.new"
            mv "$lib_dir/.$library.new" "$lib_dir/$library"
            ln -sfn "$library" "$lib_dir/libonnxruntime.so"
            echo "setup: ONNX Runtime $ort_version in $lib_dir"
            (cd "$lib_dir" && sha256sum "$library")
            ;;
    esac
done

cmake_is_new || fail "cmake is $(version_of_cmake), and $cmake_minimum or later is needed" "install a newer cmake and put it first on your PATH"
links -lopenblas -lblas -llapack -lgomp || fail "a program does not link against OpenBLAS" "apt-get install --reinstall build-essential libopenblas-dev"
ort_is_there || fail "ONNX Runtime is not where it should be: ${ORT_DYLIB_PATH:-$lib_dir}" "unset ORT_DYLIB_PATH and LVD_LIB_DIR, or point them at a library that exists"
echo "setup: done"
