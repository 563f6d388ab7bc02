#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compiles and links the GPU backend, its tests and a project that uses it where nvcc is found, and runs
# the tests where a device answers. A toolkit that came without cuBLAS gets it from Python's packages, into
# build/cublas.
#
#   tests/cuda.sh                 everything
#   tests/cuda.sh --sanitizer     … and once more under compute-sanitizer (memcheck, racecheck)
set -euo pipefail

sanitizer=
case ${1-} in
  "") ;;
  --sanitizer) sanitizer=yes ;;
  -h | --help) sed -n '3,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) sed -n '3,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
if ! command -v nvcc >/dev/null; then
  echo "=== cuda: nvcc was not found: nothing to do"
  exit 0
fi

echo "=== cuda: configure"
# Where pip's packages have it: an include folder and a lib folder in one.
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
  local found=
  if [ -d build/cublas ]; then
    found=$(dirname "$(find build/cublas -path '*/include/cublas_v2.h')")/..
  fi
  cmake --preset cuda ${found:+"-DCMAKE_PREFIX_PATH=$PWD/$found"}
}
if ! configure; then
  [ ! -d build/cublas ] || exit 1
  rm -rf build/cuda
  fetch_cublas
  configure
fi

echo "=== cuda: build"
cmake --build --preset cuda

echo "=== cuda: test"
ctest --preset cuda
if [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 build/cuda/tests/graft_test_cuda
  done
fi
