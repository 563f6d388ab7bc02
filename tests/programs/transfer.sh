#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What graft-pretrain learns is of use: adapters on its encoder beat adapters on a random one of the
# same shape. The nouns of dev are in no training text; only pretraining tells which are alike.
. "$(dirname "$0")/support.sh"

texts 1 1500 plain >plain.txt
texts 2 200 train >train.tsv
texts 3 200 dev >dev.tsv
shape=(--texts plain.txt --layers 2 --width 32 --heads 2 --vocabulary 300 --positions 16 --quiet)
graft-pretrain "${shape[@]}" --epochs 0 --out random
graft-pretrain "${shape[@]}" --epochs 20 --lr 3e-3 --batch 16 --out pretrained
cmp random/vocab.txt pretrained/vocab.txt || fail "two vocabularies"

for strategy in lora houlsby; do
  for base in random pretrained; do
    graft-finetune --model $base --train train.tsv --dev dev.tsv --strategy $strategy --epochs 8 \
      --lr 5e-3 --out adapter --json $base.json --quiet
    echo "$strategy on the $base base: dev accuracy $(value $base.json dev_accuracy)"
  done
  holds "$strategy: pretrained" "$(value pretrained.json dev_accuracy) >= 0.8"
  holds "$strategy: better than random" \
    "$(value pretrained.json dev_accuracy) >= $(value random.json dev_accuracy) + 0.15"
done
finish
