#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Adapters that travel: graft-convert, graft-merge, graft-inspect, and graft-predict with folders of other
# libraries and with several adapters at once.
. "$(dirname "$0")/support.sh"

tiny_model model
texts 2 64 train >train.tsv
texts 3 40 dev >dev.tsv
cut -f 1 dev.tsv >dev.txt
for strategy in lora lora-fa dora ia3 adalora vera pfeiffer prompt; do
  graft-finetune --model model --train train.tsv --dev dev.tsv --strategy "$strategy" --epochs 1 \
    --batch 8 --lr 0.01 --out "$strategy" --quiet
  graft-predict --model model --adapter "$strategy" --logits <dev.txt >"$strategy.logits"
done

# near WHAT A B: the same numbers but for rounding.
near() {
  paste "$2" "$3" | awk '{
    for (i = 1; i <= NF / 2; ++i) if (($i - $(i + NF / 2)) ^ 2 > 1e-8) exit 1
  }' || fail "$1: $2 and $3 differ"
}

# There and back again, and answers from the folder as it is.
for strategy in lora lora-fa dora ia3 adalora vera prompt; do
  expect 0 "" graft-convert --model model --adapter "$strategy" --to peft --out "$strategy.peft" \
    --base-name tiny
  [ -s "$strategy.peft/adapter_model.safetensors" ] || fail "$strategy: nothing was written"
  graft-predict --model model --adapter "$strategy.peft" --logits <dev.txt >again.logits
  near "$strategy as PEFT has it" "$strategy.logits" again.logits
done
for strategy in lora pfeiffer; do
  expect 0 "" graft-convert --model model --adapter "$strategy" --to adapterhub --out "$strategy.hub" \
    --name mine
  [ -s "$strategy.hub/adapter.safetensors" ] || fail "$strategy: nothing was written"
  graft-predict --model model --adapter "$strategy.hub" --logits <dev.txt >again.logits
  near "$strategy as AdapterHub has it" "$strategy.logits" again.logits
done
expect 1 "expected one method that PEFT has" \
  graft-convert --model model --adapter pfeiffer --to peft --out none
[ ! -e none ] || fail "a folder of what was refused"
expect 2 "--to" graft-convert --model model --adapter lora --to keras --out none

# Merged: a model of its own.
for strategy in lora lora-fa dora ia3 adalora vera; do
  for folder in "$strategy" "$strategy.peft"; do
    expect 0 "" graft-merge --model model --adapter "$folder" --out merged
    graft-predict --model merged --logits <dev.txt >again.logits
    near "$folder merged" "$strategy.logits" again.logits
    rm -r merged
  done
done
expect 0 "" graft-merge --model model --adapter lora --out merged
cmp model/vocab.txt merged/vocab.txt || fail "the tokenizer did not come along"
expect 1 "found bottleneck" graft-merge --model model --adapter pfeiffer --out none
expect 2 "is the folder of --model" graft-merge --model model --adapter lora --out model
tiny_model other --seed 3
expect 1 "expected the base model with fingerprint" graft-merge --model other --adapter lora --out none
[ ! -e none ] || fail "a folder of what was refused"

# What is in a folder.
shown() { # FOLDER WORDS
  expect 0 "" graft-inspect "$1"
  grep -q -- "$2" out || fail "graft-inspect $1: expected \"$2\", found $(cat out)"
}
shown lora "decorated *layer.\*.attention.query  lora  alpha 16, b_rate 1, rank 8.*(2 times)"
shown lora "labels *a, b"
shown lora.peft "adapter *PEFT's"
shown lora.peft "base *tiny"
shown lora.peft "bert.encoder.layer.\*.attention.self.value  lora  alpha 16, rank 8  (2 times)"
shown ia3.peft "ia3  place input"
shown model "model *BertModel"
shown merged "labels *a, b"
shown merged "sizes *2 layers, width 16, 2 heads"
expect 1 "nowhere" graft-inspect nowhere
expect 2 "--model: is needed for an adapter of AdapterHub's" graft-inspect lora.hub
expect 0 "" graft-inspect lora.hub --model model

# Several adapters in one batch, each by its name.
expect 0 "" graft-finetune --model model --train train.tsv --dev dev.tsv --strategy lora --epochs 1 \
  --batch 8 --lr 0.03 --seed 4 --rank 3 --out second --quiet
graft-predict --model model --adapter second --logits <dev.txt >second.logits
awk '{ print (NR % 3 ? "first" : "second") "\t" $0 }' dev.txt >named.txt
input=named.txt expect 0 "" graft-predict --model model --adapter first=lora.peft --adapter second=second \
  --logits
cp out mixed.logits
paste lora.logits second.logits | awk '{ print (NR % 3 ? $1 "\t" $2 : $3 "\t" $4) }' >expected.logits
near "a mixed batch" expected.logits mixed.logits
printf 'third\tword\n' >unknown.txt
input=unknown.txt expect 1 'standard input:1: adapter_bank: expected the name of an adapter, found "third"' \
  graft-predict --model model --adapter first=lora --adapter second=second
printf 'no tab\n' >untabbed.txt
input=untabbed.txt expect 1 "standard input:1: expected NAME<TAB>text, found no tab" \
  graft-predict --model model --adapter first=lora
expect 2 "expected NAME=DIR where there are several" graft-predict --model model --adapter lora --adapter b=lora
expect 1 "expected lora alone, found bottleneck" graft-predict --model model --adapter a=pfeiffer
finish
