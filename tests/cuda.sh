#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compiles and links the GPU backend, its tests and benchmarks, programs over it and a project that uses it
# where nvcc is found, and runs the tests where a device answers.
#
#   tests/cuda.sh                       all of that
#   tests/cuda.sh --device [STAGE]...   on a machine with a device: builds what the stages need, runs them in
#                                       turn, and ends with an error at the first that fails:
#       tests       operations and whole models
#       sanitizer   the tests under compute-sanitizer: memcheck, racecheck, initcheck, synccheck
#       kernels     each operation's time, beside what the device can do at best (bench/gpu/kernels.py)
#       steps       training steps beside PyTorch + PEFT (bench/peers/run_gpu.py)
#   tests/cuda.sh --headers DIR         copies Eigen, nlohmann-json and Catch2 from Debian's packages to DIR
#
# A toolkit that came without cuBLAS gets it from where Python has it, or from PyPI into build/cublas. For
# --device, from the environment:
#   GRAFT_HEADERS    DIR of --headers, on a machine that lacks those packages
#   GRAFT_RESULTS    folder that kernels and steps write to (default: bench/results)
#   GRAFT_SANITIZER  tools, and GRAFT_SANITIZED the tests, in Catch2's words (default: all, "[#operations]~[.]")
#   GRAFT_STEPS      further options of bench/peers/run_gpu.py
#   GRAFT_PEFT       a python with torch, transformers and peft (default: python3)
set -euo pipefail

usage() { sed -n '3,24s/^# \{0,1\}//p' "$0"; }

# headers DIR
headers() {
  mkdir -p "$1"
  dpkg -L libeigen3-dev nlohmann-json3-dev catch2 | while read -r file; do
    [[ ! -f $file || $file == */doc/* || $file == */src/catch2/* ]] || echo "${file#/usr/}"
  done | tar -C /usr -c -T - | tar -C "$1" -x
}

device=
stages=()
case ${1-} in
  "") ;;
  --device)
    device=yes
    stages=("${@:2}")
    [ ${#stages[@]} -gt 0 ] || stages=(tests sanitizer kernels steps)
    for stage in "${stages[@]}"; do
      case $stage in tests | sanitizer | kernels | steps) ;; *) usage >&2; exit 2 ;; esac
    done
    ;;
  --headers) [ $# -eq 2 ] || { usage >&2; exit 2; }; headers "$2"; exit 0 ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
headers_folder=${GRAFT_HEADERS:+$(realpath "$GRAFT_HEADERS")}
[ -z "${GRAFT_RESULTS-}" ] || GRAFT_RESULTS=$(realpath -m "$GRAFT_RESULTS")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "=== cuda: $*, $(date +%T)"; }
is_asked() { [[ " ${stages[*]} " == *" $1 "* ]]; }

PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
if ! command -v nvcc >/dev/null; then
  say "nvcc was not found: nothing to do"
  [ -z "$device" ] || exit 1
  exit 0
fi

options=()
targets=(graft_for_gpu)
! nvidia-smi --list-gpus &>/dev/null || targets=(graft_on_gpu)
if [ -n "$device" ]; then
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  options=(-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DGRAFT_EXAMPLES=OFF -DGRAFT_WERROR=OFF -DGRAFT_TESTS=OFF -DGRAFT_INSTALL=OFF)
  targets=()
  if is_asked tests || is_asked sanitizer; then
    options+=(-DGRAFT_TESTS=ON)
    targets+=(graft_test_cuda)
  fi
  ! is_asked kernels || targets+=(graft_bench_gpu_kernels)
  ! is_asked steps || targets+=(graft_bench_gpu_step)
fi

say "configure"
# Folders that have cuBLAS's include and lib: of Python's packages …
installed_cublas() {
  python3 - <<'PYTHON'
import glob, sys
for folder in sys.path:
    for header in glob.glob(folder + "/nvidia/*/include/cublas_v2.h"):
        print(header.removesuffix("/include/cublas_v2.h"))
PYTHON
}
# … and of PyPI.
fetch_cublas() {
  local release package
  release=$(nvcc --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
  package="nvidia-cublas-cu$release"
  [ "$release" -lt 13 ] || package="nvidia-cublas==$release.1.*"
  echo "Fetching cuBLAS: $package"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest build/cublas "$package"
  python3 -m zipfile -e build/cublas/*.whl build/cublas
  rm build/cublas/*.whl
}
configure() {
  local prefixes=${CMAKE_PREFIX_PATH-}${headers_folder:+;$headers_folder} found
  if [ -d build/cublas ]; then
    found=$(dirname "$(find "$PWD/build/cublas" -path '*/include/cublas_v2.h')")/..
  else
    found=$(installed_cublas | head -1)
  fi
  prefixes+=${found:+;$found}
  prefixes=${prefixes#;}
  cmake --preset cuda ${prefixes:+"-DCMAKE_PREFIX_PATH=$prefixes"} "${options[@]}"
}
if ! configure; then
  if [ -d build/cublas ] || [ -n "$device" ]; then
    exit 1
  fi
  rm -rf build/cuda
  fetch_cublas
  configure
fi

say "build ${targets[*]}"
cmake --build build/cuda --target "${targets[@]}"

if [ -z "$device" ]; then
  say "test"
  ctest --preset cuda
  exit 0
fi

results=${GRAFT_RESULTS:-$PWD/bench/results}
for stage in "${stages[@]}"; do
  say "$stage"
  case $stage in
    tests) build/cuda/tests/graft_test_cuda "~[.]" ;;
    sanitizer)
      for tool in ${GRAFT_SANITIZER:-memcheck racecheck initcheck synccheck}; do
        say "$tool"
        compute-sanitizer --tool "$tool" --error-exitcode 1 build/cuda/tests/graft_test_cuda \
          --filenames-as-tags "${GRAFT_SANITIZED:-[#operations]~[.]}"
      done
      ;;
    kernels)
      python3 bench/gpu/kernels.py build/cuda/bench/gpu/graft-bench-gpu-kernels --out "$results"
      ;;
    steps)
      # shellcheck disable=SC2086
      python3 bench/peers/run_gpu.py --program build/cuda/bench/gpu/graft-bench-gpu-step \
        --peft "${GRAFT_PEFT:-python3}" --out "$results" ${GRAFT_STEPS-}
      ;;
  esac
done
say "all stages ended well: ${stages[*]}"
