#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-encode: a JSON array of length 1 for each line.
. "$(dirname "$0")/support.sh"

tiny_model model
cut -f 1 <(texts 3 40 dev) >lines.txt
graft-encode --model model <lines.txt >vectors
equal "lines" 40 "$(wc -l <vectors)"
grep -vq '^\[\(-\{0,1\}[0-9][-+0-9.e]*, \)\{15\}-\{0,1\}[0-9][-+0-9.e]*\]$' vectors &&
  fail "not arrays of 16 numbers: $(head -1 vectors)"
tr -d '[],' <vectors | awk '{ s = 0; for (i = 1; i <= NF; ++i) s += $i * $i }
  (s - 1) ^ 2 > 1e-10 { exit 1 }' || fail "a vector whose length is not 1"

# A line has its vector whatever stands beside it.
sed -n 7p lines.txt | graft-encode --model model >alone
paste -d ' ' <(sed -n 7p vectors | tr -d '[],') <(tr -d '[],' <alone) | awk '
  { for (i = 1; i <= 16; ++i) if (($i - $(i + 16)) ^ 2 > 1e-10) exit 1 }' || fail "7 differs alone"
equal "different lines" 2 "$(printf 'one\ntwo\n' | graft-encode --model model | sort -u | wc -l)"

# Texts are cut where sentence_bert_config.json says.
printf '{"max_seq_length": 5}\n' >model/sentence_bert_config.json
graft-encode --model model <lines.txt >cut 2>err
grep -q "40 texts have more than 5 tokens and were cut" err || fail "no warning: $(cat err)"
graft-encode --model model --max-length 32 <lines.txt | cmp - vectors || fail "--max-length"

expect 0 "" graft-encode --help
expect 1 "nowhere" graft-encode --model nowhere
expect 2 "--model is required" graft-encode
expect 2 "--max-length" graft-encode --model model --max-length 2
printf 'fine\nbad \xff\n' >latin.txt
input=latin.txt expect 1 "standard input:2: byte 4: expected UTF-8" graft-encode --model model
finish
