#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-pretrain: what it writes, that equal seeds agree, and what it refuses.
. "$(dirname "$0")/support.sh"

tiny_model one
equal "files" "config.json model.safetensors tokenizer_config.json vocab.txt" "$(ls one | xargs)"
grep -q '"BertForMaskedLM"' one/config.json || fail "config.json names no architecture"
equal "vocabulary" "$(value one/config.json vocab_size)" "$(wc -l <one/vocab.txt)"
equal "layers" 2 "$(value one/config.json num_hidden_layers)"

tiny_model two
cmp one/model.safetensors two/model.safetensors || fail "equal seeds, different models"
tiny_model three --seed 7
cmp -s one/model.safetensors three/model.safetensors && fail "different seeds, equal models"

expect 0 "" graft-pretrain --texts tiny.txt --out trained --width 16 --layers 1 --vocabulary 200 \
  --positions 32 --epochs 10 --lr 0.01
grep -q "loss [0-9.]* in the first epoch, [0-9.]* in the last" err || fail "no losses: $(cat err)"
first=$(sed -n 's/.*loss \([0-9.]*\) in the first.*/\1/p' err)
last=$(sed -n 's/.*epoch, \([0-9.]*\) in the last.*/\1/p' err)
holds "the loss falls" "$last < 0.9 * $first"

echo "a long long long long long long long text" >long.txt
expect 0 "1 text has more than 4 tokens and was cut" \
  graft-pretrain --texts long.txt --out long --width 8 --positions 4 --epochs 1

printf 'fine\nbad \xff\n' >latin.txt
: >empty.txt
expect 0 "" graft-pretrain --help
grep -q -- "--vocabulary" out || fail "--help does not tell of --vocabulary"
expect 1 "missing.txt" graft-pretrain --texts missing.txt --out x
expect 1 "latin.txt:2: expected UTF-8" graft-pretrain --texts latin.txt --out x
expect 1 "empty.txt: expected texts" graft-pretrain --texts empty.txt --out x
expect 2 "--texts is required" graft-pretrain --out x
expect 2 "--heads" graft-pretrain --texts tiny.txt --out x --width 16 --heads 3
expect 2 "--epochs" graft-pretrain --texts tiny.txt --out x --epochs many
[ ! -e x ] || fail "bad input left a folder behind"
finish
