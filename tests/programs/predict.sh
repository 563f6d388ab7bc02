#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-predict: it gives what graft-finetune measured, and refuses adapters of another base.
. "$(dirname "$0")/support.sh"

tiny_model model
texts 2 64 train >train.tsv
texts 3 40 dev >dev.tsv
cut -f 1 dev.tsv >dev.txt
for strategy in full lora houlsby; do
  graft-finetune --model model --train train.tsv --dev dev.tsv --strategy "$strategy" --epochs 3 \
    --batch 8 --seed 5 --lr 0.01 --out "$strategy" --json "$strategy.json" --quiet
  graft-predict --model model --adapter "$strategy" <dev.txt >labels.tsv
  equal "$strategy: lines" 40 "$(wc -l <labels.tsv)"
  hits=$(paste <(cut -f 2 dev.tsv) <(cut -f 1 labels.tsv) | awk '$1 == $2' | wc -l)
  holds "$strategy: accuracy" "$hits == 40 * $(value "$strategy.json" dev_accuracy)"
  holds "$strategy: probabilities" \
    "$(cut -f 2 labels.tsv | awk '$1 < 0.5 || $1 > 1' | wc -l) == 0"

  graft-predict --model model --adapter "$strategy" --logits <dev.txt >logits.tsv
  paste labels.tsv logits.tsv | awk '
    { p = 1 / (1 + exp(-($3 > $4 ? $3 - $4 : $4 - $3))); label = $3 >= $4 ? "a" : "b" }
    label != $1 || (p - $2) ^ 2 > 1e-10 { exit 1 }' || fail "$strategy: logits disagree"
done

# As many lines out as in, empty ones too; CRLF does not matter.
equal "empty input" "" "$(graft-predict --model model --adapter lora </dev/null)"
equal "lines" 3 "$(printf 'a\n\nb' | graft-predict --model model --adapter lora | wc -l)"
equal "CRLF" "$(printf 'a\n' | graft-predict --model model --adapter lora)" \
  "$(printf 'a\r\n' | graft-predict --model model --adapter lora)"
printf 'word %.0s' {1..60} >long.txt
input=long.txt expect 0 "1 text has more than 32 tokens and was cut" \
  graft-predict --model model --adapter lora

tiny_model base --seed 3
expect 1 "lora/graft_adapter.json: expected the base model with fingerprint" \
  graft-predict --model base --adapter lora
expect 1 "nowhere" graft-predict --model model --adapter nowhere
expect 1 "nowhere" graft-predict --model nowhere --adapter lora
cp -r lora strange
sed -i 's/"strategy": "lora"/"strategy": "magic"/' strange/graft_adapter.json
expect 1 'found "magic"' graft-predict --model model --adapter strange
sed -i 's/"strategy": "magic"/"strategy": "houlsby"/' strange/graft_adapter.json
expect 1 "expected the recipe" graft-predict --model model --adapter strange
printf 'fine\nbad \xff\n' >latin.txt
input=latin.txt expect 1 "standard input:2: byte 4: expected UTF-8" \
  graft-predict --model model --adapter lora

expect 0 "" graft-predict --help
expect 1 "model: expected a model with a head" graft-predict --model model
finish
