#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the fuzz targets and runs each for some seconds, from the files of tests/hostile/corpus and
# tests/golden. Ends with 1 where one found something; what it found lies in the folder then.
#   tests/fuzz/run.sh [SECONDS=600] [FOLDER=build/fuzz] [TARGET ...]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
seconds=${1:-600}
folder=${2:-$root/build/fuzz}
targets=("${@:3}")
[ ${#targets[@]} -gt 0 ] || for source in "$root"/tests/fuzz/*.cpp; do
  name=$(basename "$source" .cpp)
  targets+=("$name")
done

flags=(-std=c++20 -O1 -g -fno-sanitize-recover=all -I"$root/include" -I"$root/tests" -I"$root/examples"
       -I"${EIGEN:-/usr/include/eigen3}")
mkdir -p "$folder"
cd "$folder"
python3 "$root/tests/fuzz/seeds.py" seeds

found=0
for name in "${targets[@]}"; do
  sources=("$root/tests/fuzz/$name.cpp")
  [ "$name" != body ] || sources+=("$root"/examples/support/{serving,batching,bank,compute,texts,task_data,program}.cpp)
  "${CXX:-clang++}" "${flags[@]}" -fsanitize=fuzzer,address,undefined "${sources[@]}" -lutf8proc -o "$name"
  mkdir -p "new/$name" "seeds/$name"
  echo "== $name"
  ./"$name" -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=1024 -timeout=30 \
    -print_final_stats=1 -artifact_prefix="found-$name-" "new/$name" "seeds/$name" >"$name.log" 2>&1 ||
    { found=1; echo "found something: $folder/$name.log"; }
  grep -E "DONE|number_of_executed_units|peak_rss" "$name.log" || true
done
exit $found
