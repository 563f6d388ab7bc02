#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-finetune: every strategy, its results, its log, that equal seeds agree, and what it refuses.
. "$(dirname "$0")/support.sh"

tiny_model model
texts 2 64 train >train.tsv
{ printf 'sentence\tlabel\n'; texts 3 40 dev; } >dev.tsv
texts 4 30 dev >test.tsv
tune() {
  graft-finetune --model model --train train.tsv --dev dev.tsv --epochs 2 --batch 8 --quiet "$@"
}

strategies=$(graft-finetune --help | sed -n '/^Strategies/,/^The head/s/^  \([^ ]*\) .*/\1/p')
holds "strategies" "$(wc -w <<<"$strategies") >= 29"
for strategy in $strategies; do
  expect 0 "" tune --strategy "$strategy" --out "$strategy" --json "$strategy.json" --test test.tsv
  for key in seed total_parameters trainable_parameters train_seconds tokens_per_second \
    peak_memory_bytes best_epoch dev_loss dev_accuracy dev_f1 test_accuracy adapter_bytes; do
    [ -n "$(value "$strategy.json" $key)" ] || fail "$strategy.json has no number $key"
  done
  grep -q "\"strategy\": \"$strategy\"" "$strategy.json" || fail "$strategy.json names no strategy"
  equal "$strategy: bytes" "$(cat "$strategy"/graft_adapter.* | wc -c)" \
    "$(value "$strategy.json" adapter_bytes)"
done
equal "full: trained" "$(value full.json total_parameters)" \
  "$(value full.json trainable_parameters)"
equal "head: trained" $((2 * 16 + 2)) "$(value head.json trainable_parameters)"
equal "lora: trained" $((2 * 2 * 8 * 2 * 16 + 34)) "$(value lora.json trainable_parameters)"
holds "full is larger than lora" \
  "$(value full.json adapter_bytes) > 4 * $(value lora.json adapter_bytes)"

# Numbers on the command line, and the log.
expect 0 "" tune --strategy lora+pfeiffer --rank 2 --alpha 4 --width 3 --dropout 0.2 --lr 1e-2 \
  --seed 9 --threads 1 --limit 20 --max-length 16 --out small --json small.json --log small.log
equal "steps in the log" 6 "$(grep -c '"loss"' small.log)"
equal "evaluations in the log" 2 "$(grep -c '"dev_accuracy"' small.log)"
equal "steps" 6 "$(value small.json steps)"
grep -q '^{"step":1,"epoch":1,"loss":[0-9.]*,' small.log || fail "log: $(head -1 small.log)"
grep -q '"rank": 2' small/graft_adapter.json || fail "the adapter does not tell rank 2"
grep -q '"width": 3' small/graft_adapter.json || fail "the adapter does not tell width 3"

expect 0 "" tune --strategy prompt --set tokens=3 --out prompt3 --json prompt3.json
equal "prompt of 3: trained" $((3 * 16 + 34)) "$(value prompt3.json trainable_parameters)"
expect 1 'has a number "tokns"; there are hidden, tokens' tune --strategy prompt --set tokns=3 --out nothing
expect 2 "expected NAME=NUMBER, found tokens" tune --strategy prompt --set tokens --out nothing

# Equal seeds give equal bytes.
expect 0 "" tune --strategy lora --out again
cmp lora/graft_adapter.safetensors again/graft_adapter.safetensors || fail "equal seeds differ"
expect 0 "" tune --strategy lora --seed 1 --out other
cmp -s lora/graft_adapter.safetensors other/graft_adapter.safetensors && fail "seeds do not matter"

# What the frozen layers make of a text is kept where it stays the same, and it is said.
expect 0 "" tune --strategy head --dropout 0 --out kept --json kept.json
equal "kept texts" $((64 + 40)) "$(value kept.json kept_examples)"
equal "bytes of kept rows" $((4 * 16 * (64 + 40))) "$(value kept.json kept_bytes)"
grep -q '"frozen_train": "kept"' kept.json || fail "kept.json: $(cat kept.json)"
grep -q '"frozen_train": "not kept: dropout acts there"' head.json || fail "head.json: $(cat head.json)"
expect 0 "" tune --strategy head --dropout 0 --keep-frozen-in . --out filed --json filed.json
cmp kept/graft_adapter.safetensors filed/graft_adapter.safetensors || fail "a file changes what is kept"
expect 0 "" tune --strategy head --dropout 0 --keep-frozen 0.002 --out partly --json partly.json
holds "a budget of 2 kB is kept to" "$(value partly.json kept_bytes) < 2098"
holds "a budget of 2 kB is used" "$(value partly.json kept_bytes) > 1000"
expect 0 "" tune --strategy head --dropout 0 --keep-frozen 0 --out unkept --json unkept.json
equal "nothing was asked for" 0 "$(value unkept.json kept_bytes)"

# Without --quiet it says what it did; what is cut is counted.
expect 0 "16 texts have more than 6 tokens and were cut" graft-finetune --model model \
  --train train.tsv --dev dev.tsv --strategy head --epochs 1 --limit 8 --max-length 6 --describe \
  --out said
grep -q "freshly initialised: pooler.weight, " err || fail "the fresh pooler is not told"
grep -q "^head.classifier *34 *34$" err || fail "the classifier is not described: $(cat err)"
grep -q "epoch 1: dev loss" err || fail "no line for the epoch"
grep -q "of training texts not kept: there is one epoch only" err || fail "frozen layers: $(cat err)"
grep -q "written to said" out || fail "no closing line"
grep -q $'\r' err && fail "a progress line where there is no terminal"

# Bad input: exit code 1, a message with file and line, and nothing left behind.
printf 'a text\ta\nno label\n' >column.tsv
printf 'a text\ta\nbad \xff\tb\n' >latin.tsv
: >empty.tsv
printf 'a text\ta\nanother\ta\n' >one.tsv
printf 'a text\ta\nanother\tc\n' >unknown.tsv
refused() { # WORDS TRAIN DEV
  expect 1 "$1" graft-finetune --model model --train "$2" --dev "$3" --strategy head --out x
}
refused "column.tsv:2: expected text<TAB>label, found 1 column" column.tsv dev.tsv
refused "latin.tsv:2: expected UTF-8" latin.tsv dev.tsv
refused "empty.tsv:1: expected text<TAB>label" empty.tsv dev.tsv
refused "column.tsv:2: expected text<TAB>label" train.tsv column.tsv
refused "unknown.tsv:2: expected a label of the training file" train.tsv unknown.tsv
refused "one.tsv: expected at least 2 different labels" one.tsv dev.tsv
refused "missing.tsv" missing.tsv dev.tsv
expect 1 "nowhere" graft-finetune --model nowhere --train train.tsv --dev dev.tsv \
  --strategy head --out x
expect 1 "nowhere/x.json" tune --strategy head --out y --json nowhere/x.json
expect 1 "nowhere/x.log" tune --strategy head --out y --log nowhere/x.log
expect 1 "not_a_folder" tune --strategy head --out train.tsv/not_a_folder
[ ! -e x ] || fail "bad input left a folder behind"
[ ! -e y/graft_adapter.json ] || fail "an adapter of a run that failed"

# A loss that is no number any more.
expect 1 "expected a finite" tune --strategy full --lr 1e30 --out diverged
[ ! -e diverged/graft_adapter.json ] || fail "an adapter of a run that failed"

# Bad usage: exit code 2.
expect 0 "" graft-finetune --help
for word in --strategy --rank --json --log lora+pfeiffer; do
  grep -qF -- "$word" out || fail "--help does not tell of $word"
done
expect 2 "--model is required" graft-finetune
expect 2 "--strategy" tune --strategy loral --out x
expect 2 "--epochs" tune --strategy lora --epochs 0 --out x
expect 2 "--rank" tune --strategy lora --rank 0 --out x
expect 2 "has no LoRA" tune --strategy head --rank 4 --out x
expect 2 "has no bottleneck" tune --strategy lora --width 4 --out x
expect 2 "--dropout" tune --strategy lora --dropout 1.5 --out x
expect 2 "--unheard-of" tune --strategy lora --unheard-of --out x
[ ! -e x ] || fail "bad usage left a folder behind"
finish
