#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-finetune in stages, with snapshots: killed at any moment, also inside a write, and run again with
# --resume it ends with the bytes of the run that was not.
. "$(dirname "$0")/support.sh"

tiny_model model
texts 2 64 train >train.tsv
texts 3 40 dev >dev.tsv
tune() {
  graft-finetune --model model --train train.tsv --dev dev.tsv --batch 4 --threads 1 --quiet "$@"
}
same_bytes() { # A B
  for file in graft_adapter.safetensors graft_adapter.json; do
    cmp "$1/$file" "$2/$file" || fail "$1/$file and $2/$file differ"
  done
}

# Everything that has state: dropout, pulls, texts that change, AdaLoRA's ranks, and
# stages of which the first trains the base.
everything=(--strategy full:2,adalora:3 --dropout 0.1 --l2-start 0.01 --augment delete:0.2
  --augment swap:0.1 --smoothing 0.1 --layer-decay 0.9 --balance)
expect 0 "" tune "${everything[@]}" --out whole --log whole.log --json whole.json
equal "stages" 2 "$(grep -c '"epochs"' whole.json)"
equal "steps" $((16 * 5)) "$(value whole.json steps | head -1)"

# Killed at 20 random moments, as often as it takes to end: what a kill leaves, the next run goes on with.
# The moments lie within the time that a run last took: how fast the machine is changes while tests run beside this.
RANDOM=7
now() { date +%s%N; }
kills=0
span=0
for _ in $(seq 200); do
  [ "$kills" -lt 20 ] || break
  rm -rf killed killed.log
  killed=0
  for _ in $(seq 100); do
    delay=$(awk -v span="$span" -v r=$RANDOM 'BEGIN { print 0.001 + span * 1e-9 * (0.1 + 0.8 * r / 32768) }')
    [ "$span" -gt 0 ] || delay=1000
    status=0
    start=$(now)
    timeout -s KILL "$delay" graft-finetune --model model --train train.tsv --dev dev.tsv --batch 4 \
      --threads 1 --quiet "${everything[@]}" --out killed --log killed.log --save-every 1 --resume \
      2>err || status=$?
    [ "$status" -ne 0 ] || break
    [ "$status" -eq 137 ] || { fail "after a kill: $(cat err)"; break 2; }
    killed=$((killed + 1))
  done
  [ "$killed" -gt 0 ] || span=$(($(now) - start))
  kills=$((kills + killed))
  same_bytes whole killed
  cmp whole.log killed.log || fail "the logs differ"
done
holds "it was killed" "$kills >= 20"
[ -z "$(find killed/snapshots -name '*.tmp*')" ] ||
  fail "half-written files are left: $(find killed/snapshots -name '*.tmp*')"
equal "snapshots that stay" 2 "$(find killed/snapshots/2 -name 'step-*' | wc -l)"

# Run again when all is done: the same bytes. With other settings: refused.
expect 0 "" tune "${everything[@]}" --out killed --save-every 1 --resume
same_bytes whole killed
expect 1 "seed is 3 here, 0 there" tune "${everything[@]}" --out killed --resume --seed 3
same_bytes whole killed
head -60 train.tsv >other.tsv
expect 1 "expected the run that --resume goes on with, found another" graft-finetune --model model --train other.tsv --dev dev.tsv --batch 4 \
  --threads 1 --quiet "${everything[@]}" --out killed --resume

# A disk that fills up: an error that names the file, the snapshots before it stay, and the run goes on
# once there is room. (A limit on file sizes stands for the disk.)
expect 0 "" tune --strategy lora --epochs 2 --out room --save-every 3
small=$(($(stat -c %s room/snapshots/1/step-*30.safetensors) / 1024 - 1))
full() { (
  trap '' XFSZ
  ulimit -f "$small"
  tune --strategy lora --epochs 2 --out full_disk --save-every 3
); }
expect 1 "cannot write full_disk/snapshots/1/step-000000018.safetensors: File too large" full
[ -e full_disk/snapshots/1/step-000000015.safetensors ] || fail "an older snapshot is gone"
[ ! -e full_disk/graft_adapter.json ] || fail "an adapter of a run that failed"
expect 0 "" tune --strategy lora --epochs 2 --out full_disk --save-every 3 --resume
same_bytes room full_disk
mkdir locked
: >locked/snapshots
expect 1 "locked/snapshots" tune --strategy lora --epochs 1 --out locked --save-every 3 --resume

# Stages: what they hand on, and what cannot follow what.
expect 0 "" tune --strategy lora:2,merge,lora:2 --rank 2 --out twice --json twice.json
graft-predict --model model --adapter twice <dev.tsv >twice.txt
for site in query value; do
  grep -q "layer.1.attention.$site.weight" twice/graft_adapter.json ||
    fail "the merged weight of $site does not travel along"
done
expect 0 "" tune --strategy head:1,top2:1,full:1 --out unfrozen --json unfrozen.json
equal "all is trained in the end" "$(value unfrozen.json total_parameters)" \
  "$(value unfrozen.json trainable_parameters)"
expect 1 "head cannot follow lora (merge between them may help)" tune --strategy lora:1,head:1 --out x
expect 2 "a strategy behind merge" tune --strategy lora:1,merge --out x
expect 2 "a strategy before merge" tune --strategy merge,lora:1 --out x
expect 2 'expected a strategy, found "loral"' tune --strategy lora:1,loral:1 --out x
expect 2 'a number of epochs from 1 on behind "lora:", found "x"' tune --strategy lora:x --out x
expect 1 'augmentation "delete:2": expected a share of 0 to 1' tune --strategy lora --augment delete:2 --out y
[ ! -e x ] || fail "bad usage left a folder behind"

# Stopping early, and what TensorBoard reads.
expect 0 "" tune --strategy lora --epochs 30 --lr 1e-6 --patience 2 --min-delta 0.5 --monitor loss \
  --out early --json early.json --tensorboard events
equal "it stopped" $((16 * 3)) "$(value early.json steps)"
grep -q '"stopped_early": true' early.json || fail "it does not say that it stopped early"
[ -n "$(find events -name '*tfevents*' -size +1k)" ] || fail "no events for TensorBoard"
finish
