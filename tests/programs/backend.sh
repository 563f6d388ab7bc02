#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --backend and --precision: what a build and a machine do not have is said in one line, by every program that
# computes, before anything is read or written. DEVICE=yes, in a build with GRAFT_CUDA: a whole run on the GPU;
# ends with 77 where no device answers.
. "$(dirname "$0")/support.sh"

tiny_model model
texts 2 64 train >train.tsv
texts 3 40 dev >dev.tsv
awk -F '\t' '{ print $1 "\t" $1 "\t1" }' dev.tsv >pairs.tsv
cut -f 1 dev.tsv >lines.txt
tune() {
  graft-finetune --model model --train train.tsv --dev dev.tsv --epochs 2 --batch 8 --quiet \
    --strategy "$@"
}

if [ -n "${DEVICE-}" ]; then
  code=0
  tune lora --backend cuda --precision bf16 --out gpu --json gpu.json 2>err || code=$?
  if [ "$code" -ne 0 ]; then
    cat err
    grep -qx "graft-finetune: --backend cuda: no CUDA device answers" err || exit 1
    exit 77
  fi
  grep -q '"precision": "bf16"' gpu.json || fail "gpu.json names no precision"
  tune lora --out cpu --json cpu.json
  holds "losses agree" "(($(value gpu.json dev_loss)) / ($(value cpu.json dev_loss)) - 1) ^ 2 < 0.01"
  gpu=(--backend cuda --precision bf16)
  tune lora "${gpu[@]}" --out again
  cmp gpu/graft_adapter.safetensors again/graft_adapter.safetensors || fail "equal seeds differ"
  # Both answer with what either wrote.
  for adapter in gpu cpu; do
    graft-predict --model model --adapter $adapter --logits <lines.txt >on_cpu
    graft-predict --model model --adapter $adapter --logits "${gpu[@]}" <lines.txt >on_gpu
    paste on_cpu on_gpu | awk '{ if (($1 - $3) ^ 2 > 0.01 || ($2 - $4) ^ 2 > 0.01) exit 1 }' ||
      fail "$adapter: answers differ"
  done
  sed 's/^/one\t/' lines.txt | graft-predict --model model --adapter one=gpu --logits "${gpu[@]}" >mixed
  paste mixed on_gpu | awk 'NF != 4 { exit 1 }' || fail "answers of a bank"
  graft-encode --model model "${gpu[@]}" <lines.txt >vectors
  equal "vectors" 40 "$(grep -c '^\[' vectors)"
  expect 0 "" tune lora:1,merge,head:1 "${gpu[@]}" --save-every 3 --out stages
  expect 0 "" graft-similarity --model model --train pairs.tsv --dev pairs.tsv --epochs 1 "${gpu[@]}" --out near
  expect 0 "" graft-pretrain --texts tiny.txt --epochs 1 --layers 1 --width 16 --quiet "${gpu[@]}" --out made
  graft-encode --model made <lines.txt >vectors
  equal "vectors of what was made" 40 "$(grep -c '^\[' vectors)"
  finish
  exit 0
fi

programs=(
  "graft-finetune --model model --train train.tsv --dev dev.tsv --strategy lora --out x"
  "graft-compare --model model --train train.tsv --dev dev.tsv --out x"
  "graft-predict --model model"
  "graft-encode --model model"
  "graft-similarity --model model --train pairs.tsv --dev pairs.tsv --out x"
  "graft-pretrain --texts lines.txt --out x"
)
! command -v graft-serve >/dev/null || programs+=("graft-serve --model model")
for program in "${programs[@]}"; do
  name=${program%% *}
  # shellcheck disable=SC2086
  expect 2 "--precision bf16: the CPU computes in f32 alone, --backend cuda in f32, bf16 and f16" \
    $program --precision bf16
  # shellcheck disable=SC2086
  expect 2 "--backend" $program --backend abacus
  # shellcheck disable=SC2086
  expect 2 "--precision" $program --precision f64
  if [ -z "${WITH_CUDA-}" ]; then
    # shellcheck disable=SC2086
    expect 1 "$name: --backend cuda: this build has none: configure with -DGRAFT_CUDA=ON" \
      $program --backend cuda --precision bf16
    equal "$name: lines" 1 "$(wc -l <err)"
  fi
  [ ! -e x ] || fail "$name left something behind"
done
expect 0 "" tune lora --backend cpu --precision f32 --out said --json said.json
tune lora --out unsaid
cmp said/graft_adapter.safetensors unsaid/graft_adapter.safetensors || fail "the default is another"
grep -q '"backend": "cpu"' said.json || fail "said.json names no backend"
finish
