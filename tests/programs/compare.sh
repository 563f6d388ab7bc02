#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-compare: the table, CSV and picture of a comparison, that it goes on after an interruption, what
# it refuses, and a choice within limits whose command gives the same accuracy again.
. "$(dirname "$0")/support.sh"

tiny_model model
texts 2 64 train >train.tsv
texts 3 60 dev >dev.tsv
texts 4 30 dev >test.tsv
data=(--model model --train train.tsv --dev dev.tsv --test test.tsv --batch 8)
compare() { graft-compare "${data[@]}" --quiet "$@"; }
# csv FILE STRATEGY COLUMN
csv() {
  awk -F, -v row="$2" -v column="$3" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == column) at = i }
    $1 == row { print $at }' "$1"
}
# result FILE KEY: a number of the results as a whole.
result() { sed -n "s/^  \"$2\": \([-+0-9.e]*\),\{0,1\}$/\1/p" "$1"; }
# What does not depend on how fast the machine is, in the order of the names.
timeless() {
  awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) timed[i] = $i ~ /^(seconds|tokens_per_second)/ }
    { line = ""; for (i = 1; i <= NF; ++i) if (!timed[i]) line = line "," $i; print line }' "$1"
}

# A comparison from beginning to end.
expect 0 "" graft-compare "${data[@]}" --strategies head,lora --seeds 2 --epochs 2 --out all
cp out table
grep -q "^strategy  *trained  *dev accuracy  *test accuracy" table || fail "no table: $(cat table)"
grep -q "^lora  *1058 .* ± .* 2$" table || fail "no line for lora: $(cat table)"
grep -q "4 of 4 runs, 0:00 left" err || fail "no word of the runs that are left: $(cat err)"
grep -q $'\r' err && fail "a progress line where there is no terminal"
equal "runs" 4 "$(ls all/runs | wc -l)"
for strategy in head lora; do
  equal "$strategy: runs" 2 "$(csv all/compare.csv $strategy runs)"
  for part in dev test; do
    mean=$(awk -v a="$(value all/runs/$strategy-0.json ${part}_accuracy)" \
      -v b="$(value all/runs/$strategy-1.json ${part}_accuracy)" 'BEGIN { print (a + b) / 2 }')
    holds "$strategy: mean on $part" \
      "($mean - $(csv all/compare.csv $strategy ${part}_accuracy)) ^ 2 < 1e-9"
  done
  for key in gradient_bytes optimizer_bytes workspace_bytes tokens_per_second seconds adapter_bytes; do
    holds "$strategy: $key" "$(value all/runs/$strategy-0.json $key) > 0"
  done
  equal "$strategy: bytes" "$(cat all/adapters/$strategy/graft_adapter.* | wc -c)" \
    "$(csv all/compare.csv $strategy adapter_bytes)"
  grep -qF ">$strategy</text>" all/compare.svg || fail "the picture does not show $strategy"
done
equal "lora: trained" $((2 * 2 * 8 * 2 * 16 + 34)) "$(csv all/compare.csv lora trained_parameters)"
holds "the best stands first" "$(sed -n 2p all/compare.csv | cut -d, -f7) >= \
  $(sed -n 3p all/compare.csv | cut -d, -f7)"
for text in 'test accuracy' 'trained parameters' 'seconds of training'; do
  grep -qF ">$text</text>" all/compare.svg || fail "the picture does not show $text"
done
grep -qE 'nan|inf' all/compare.svg && fail "no numbers in the picture"
if command -v python3 >/dev/null; then
  python3 -c 'import sys, xml.etree.ElementTree as tree; tree.parse(sys.argv[1])' all/compare.svg ||
    fail "the picture is no XML"
fi

# A run is what graft-finetune does, and the adapter is that of the best seed.
expect 0 "" graft-finetune "${data[@]}" --strategy lora --epochs 2 --seed 1 --quiet --out single \
  --json single.json
for key in dev_accuracy dev_loss test_accuracy gradient_bytes; do
  equal "lora, seed 1: $key" "$(result single.json $key)" "$(value all/runs/lora-1.json $key)"
done
best=$(awk -v a="$(value all/runs/lora-0.json dev_accuracy)" \
  -v b="$(value all/runs/lora-1.json dev_accuracy)" \
  -v x="$(value all/runs/lora-0.json dev_loss)" -v y="$(value all/runs/lora-1.json dev_loss)" \
  'BEGIN { print b > a || (b == a && y < x) ? 1 : 0 }')
expect 0 "" graft-finetune "${data[@]}" --strategy lora --epochs 2 --seed "$best" --quiet --out best
cmp best/graft_adapter.safetensors all/adapters/lora/graft_adapter.safetensors ||
  fail "the adapter is not that of the best seed"

# Killed in the middle it goes on where it was; more seeds and strategies may follow.
expect 0 "" compare --strategies head --seeds 2 --epochs 2 --out parts
graft-compare "${data[@]}" --strategies head,lora --seeds 40 --epochs 2 --quiet --out parts &
running=$!
until [ -e parts/runs/lora-0.json ]; do
  kill -0 $running 2>/dev/null || { fail "it ended before its time"; break; }
  sleep 0.01
done
kill -9 $running
wait $running 2>/dev/null || true
holds "interrupted" "$(ls parts/runs/*.json | wc -l) < 80"
cp -p parts/runs/lora-0.json lora-0.json
expect 0 "" graft-compare "${data[@]}" --strategies head,lora --seeds 2 --epochs 2 --out parts
grep -q "of 4 runs are in parts already" err || fail "it began anew: $(cat err)"
cmp lora-0.json parts/runs/lora-0.json || fail "a run that was there is run again"
diff <(timeless all/compare.csv) <(timeless parts/compare.csv) || fail "interrupted, it differs"
cp parts/compare.csv kept.csv
expect 0 "" compare --strategies head,lora --seeds 2 --epochs 2 --out parts
cmp kept.csv parts/compare.csv || fail "a finished comparison changes"

# Other settings and other data are not mixed with what is there.
again=(graft-compare --model model --dev dev.tsv --batch 8 --strategies head --seeds 1 --quiet --out all)
expect 1 'epochs 3 instead of 2' "${again[@]}" --train train.tsv --test test.tsv
expect 1 'learning_rate 0.5 instead of "the strategy' "${again[@]}" --train train.tsv --lr 0.5 \
  --test test.tsv --epochs 2
head -60 train.tsv >shorter.tsv
expect 1 'all/settings.json: expected the settings that this folder' "${again[@]}" --epochs 2 \
  --train shorter.tsv --test test.tsv
grep -q 'found train "' err || fail "it is not told that the training texts differ: $(cat err)"
sed -i 's/"settings": "../"settings": "zz/' all/runs/head-0.json
expect 1 'all/runs/head-0.json: settings: expected "' "${again[@]}" --epochs 2 --train train.tsv \
  --test test.tsv
printf '{"strategy"' >all/runs/head-0.json
expect 1 'all/runs/head-0.json, line 1' "${again[@]}" --epochs 2 --train train.tsv --test test.tsv

# A strategy that fails is noted, the others go on; once known it is not tried again. A prompt has no
# room in a model of 8 positions.
graft-pretrain --texts tiny.txt --out narrow --layers 1 --width 16 --heads 2 --vocabulary 200 \
  --positions 8 --epochs 0 --quiet 2>/dev/null
narrow=(graft-compare --model narrow --train train.tsv --dev dev.tsv --seeds 1 --epochs 1 --quiet)
expect 0 "prompt seed 0: failed: train.tsv:1: max_length" "${narrow[@]}" --strategies prompt,head \
  --out some
grep -q "^prompt: 1 of 1 runs failed: train.tsv:1: max_length" out || fail "no reason: $(cat out)"
equal "prompt" "prompt,0,1" "$(grep ^prompt some/compare.csv | cut -d, -f 1-3)"
equal "head" "head,1,0" "$(grep ^head some/compare.csv | cut -d, -f 1-3)"
[ ! -e some/adapters/prompt ] || fail "an adapter of a run that failed"
expect 0 "" "${narrow[@]}" --strategies prompt,head --out some
grep -q "failed" err && fail "a failure is tried again"
grep -q "^prompt: 1 of 1 runs failed" out || fail "a failure is forgotten: $(cat out)"
expect 1 "expected a run that ends well" "${narrow[@]}" --strategies prompt --out none

# A choice: what is too large is dropped beforehand; the best of three candidates has a whole training.
expect 0 "" compare --strategies head,lora,full --epochs 2 --budget 30s --max-adapter 2K --out choice
cp out said
grep -q "dropped lora: 1058 trained parameters are 4.1 KiB, more than --max-adapter" said ||
  fail "lora is not dropped: $(cat said)"
grep -q "dropped full: " said || fail "full is not dropped: $(cat said)"
grep -q "^rung 1: 3 candidates, 64 texts x 2 epochs, 60 of dev" said || fail "rungs: $(cat said)"
equal "kept and dropped" 3 "$(grep -cE '^  (kept|dropped) +head at [0-9.]+: dev accuracy' said)"
grep -q "^winner: head at [0-9.]*, dev accuracy [0-9.]*, test accuracy " said || fail "$(cat said)"
grep -q "^spent .* of 30s: measuring .* rung 1 " said || fail "no word of the shares: $(cat said)"

# again FOLDER: what is printed as the command gives the figures of the choice.
again() {
  local key command
  command=$(grep "^graft-finetune " out)
  expect 0 "" eval "$command --json again.json --quiet"
  for key in dev_accuracy dev_loss test_accuracy test_loss; do
    equal "$1, again: $key" "$(value "$1/choice.json" $key)" "$(result again.json $key)"
  done
  cmp "$1/winner/graft_adapter.safetensors" "$1/again/graft_adapter.safetensors" ||
    fail "$1: the command trains another adapter"
}
cp said out
again choice

# Several rungs, and a budget that is too short for whole trainings: the winner's texts are kept.
texts 5 10000 train >long.tsv
data[3]=long.tsv
# How many candidates there is time for follows from how fast the machine is just now.
for budget in 3 12 48; do
  rm -rf "short of time"
  expect 0 "" compare --strategies head,lora,ia3 --epochs 1 --budget ${budget}s --out "short of time"
  ! grep -q "^rung 2: 3 candidates" out || break
done
grep -q "^rung 2: 3 candidates" out || fail "no second rung: $(cat out)"
grep -q "not among the best 3" out || fail "nothing dropped for its score: $(cat out)"
holds "within the budget" "$(value 'short of time/choice.json' seconds_spent) < 3 * $budget"
again "short of time"

expect 1 "expected a strategy within the limits, found none" compare --budget 5s --max-memory 1K \
  --strategies head --out tight
grep -q "beside the model, more than --max-memory" out || fail "no reason: $(cat out)"
expect 1 "expected time for a training of 256 texts in --budget 0.001s" compare --budget 0.001s \
  --strategies head --out tight

# Bad usage: exit code 2. Bad data: 1.
expect 0 "" graft-compare --help
expect 2 "--model is required" graft-compare
expect 2 "--strategies" compare --strategies head,loral --out x
expect 2 "--strategies: expected each once" compare --strategies head,head --out x
expect 2 "--budget: expected a time such as 30s, 10m or 2h, found 10x" compare --budget 10x --out x
expect 2 "--budget: expected a time" compare --budget 0s --out x
expect 2 "--max-memory: expected bytes such as 4096, 512K, 1M or 2G, found 2GB" compare --budget 1m \
  --max-memory 2GB --out x
expect 2 "--max-adapter" compare --budget 1m --max-adapter -1 --out x
expect 2 "--max-memory" compare --max-memory 2G --out x
expect 2 "--budget" compare --budget 10s --seeds 2 --out x
expect 1 "nowhere.tsv" graft-compare --model model --train train.tsv --dev nowhere.tsv --out x
expect 1 "nowhere" graft-compare --model nowhere --train train.tsv --dev dev.tsv --out x
[ ! -e x ] || fail "bad usage left a folder behind"
finish
