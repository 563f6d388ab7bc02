#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing (Debian 12, Ubuntu 24.04 or newer), builds graft and runs all its tests: the
# library's under the address and undefined behaviour sanitizers, then those of the programs.
#
#   tests/run.sh                  the presets asan and release
#   tests/run.sh --quick          the preset dev: the same tests without sanitizers
#   tests/run.sh --preset NAME    that preset only (asan, clang, dev, release)
set -euo pipefail

usage() { sed -n '3,9s/^# \{0,1\}//p' "$0"; }

presets=(asan release)
while [ $# -gt 0 ]; do
  case $1 in
    --quick) presets=(dev) ;;
    --preset)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      presets=("$2")
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."

install_missing() {
  local package missing=()
  for package in g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev \
    libutf8proc-dev catch2 libcli11-dev libbenchmark-dev libopenmpi-dev openmpi-bin \
    libcpp-httplib-dev libdnnl-dev libopenblas-dev pkg-config; do
    case $(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null) in
      *" installed") ;;
      *) missing+=("$package") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  echo "Installing with apt-get: ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

if command -v apt-get >/dev/null; then
  install_missing
fi

for preset in "${presets[@]}"; do
  target=all
  [ "$preset" != release ] || target=examples/all
  echo "=== $preset: configure"
  cmake --preset "$preset"
  echo "=== $preset: build"
  cmake --build --preset "$preset" --target "$target"
  echo "=== $preset: test"
  ctest --preset "$preset" -j "$(nproc)"
done
