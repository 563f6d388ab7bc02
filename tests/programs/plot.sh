#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-plot: what a picture shows of one log and of several, and what is refused.
. "$(dirname "$0")/support.sh"

# log STEPS LOSS ACCURACY: the log of a training that ends near these values.
log() {
  awk -v steps="$1" -v loss="$2" -v accuracy="$3" 'BEGIN {
    for (s = 1; s <= steps; ++s) {
      part = s / steps
      printf "{\"step\":%d,\"epoch\":1,\"loss\":%g,\"gradient_norm\":1,\"rate\":0.1,\"tokens\":64}\n",
        s, 0.7 + (loss - 0.7) * part + 0.1 * (s % 2)
      if (s % 20 == 0)
        printf "{\"step\":%d,\"epoch\":1,\"dev_loss\":%g,\"dev_accuracy\":%g,\"dev_note\":\"x\"}\n",
          s, 0.7 + (loss - 0.7) * part, 0.5 + (accuracy - 0.5) * part
    }
  }'
}
count() { grep -o -- "$2" "$1" | wc -l; }
shows() { grep -qF -- "$2" "$1" || fail "$1 does not show $2"; }
hides() { grep -qF -- "$2" "$1" && fail "$1 shows $2"; return 0; }
well_formed() {
  equal "$1: groups" "$(count "$1" '<g ')" "$(count "$1" '</g>')"
  equal "$1: first line" '<svg xmlns=' "$(head -1 "$1" | cut -c 1-11)"
  equal "$1: last line" '</svg>' "$(tail -1 "$1")"
  hides "$1" nan
  hides "$1" inf
  command -v python3 >/dev/null || return 0
  python3 -c 'import sys, xml.etree.ElementTree as tree; tree.parse(sys.argv[1])' "$1" ||
    fail "$1 is no XML"
}

# One run: four curves, the pale one of each step among them, and the best of the two of dev.
mkdir -p runs
log 200 0.2 0.9 >runs/sst2-lora.jsonl
expect 0 "" graft-plot runs/sst2-lora.jsonl --out one.svg
well_formed one.svg
equal "curves" 4 "$(count one.svg '<path ')"
equal "best values" 2 "$(count one.svg ' r="3.2"')"
for text in 'training loss' 'mean of 4 steps' 'dev loss' 'dev accuracy' '90.0%' '0.2' 'sst2-lora' '200'; do
  shows one.svg ">$text</text>"
done
hides one.svg note

# Three: each by what is its own of the name. One has but 60 steps, one diverges to no number.
log 60 0.4 0.8 >'runs/sst2-a<b & c.jsonl'
log 200 0.3 0.85 | sed -e '/"step":1[0-9][0-9],/s/"loss":[^,]*/"loss":9/' \
  -e '/"step":200,/s/loss":[^,]*/loss":null/' >runs/sst2-ia3.jsonl
expect 0 "" graft-plot runs/sst2-lora.jsonl 'runs/sst2-a<b & c.jsonl' runs/sst2-ia3.jsonl \
  --out three.svg --title 'Losses > 0 & "more"' --smooth 10
well_formed three.svg
equal "curves of three" 12 "$(count three.svg '<path ')"
equal "best values of three" 6 "$(count three.svg ' r="3.2"')"
for name in lora 'a&lt;b &amp; c' ia3; do
  equal "$name" 3 "$(count three.svg ">$name</text>")"
done
shows three.svg 'Losses &gt; 0 &amp; &quot;more&quot;</text>'
shows three.svg '>mean of 10 steps</text>'
equal "lines that leave the axis" 1 "$(count three.svg '<polygon ')"
hides three.svg '>9</text>'

# Without smoothing there is one line per run; a folder's name tells a run, too.
mkdir -p lr/1e-3 lr/1e-4
cp runs/sst2-lora.jsonl lr/1e-3/log
cp runs/sst2-ia3.jsonl lr/1e-4/log
expect 0 "" graft-plot lr/1e-3/log lr/1e-4/log --out two.svg --smooth 1
well_formed two.svg
equal "curves of two" 6 "$(count two.svg '<path ')"
equal "1e-3" 3 "$(count two.svg '>lr/1e-3</text>')"
equal "1e-4" 3 "$(count two.svg '>lr/1e-4</text>')"

# Beyond six runs the best values stand with the names.
for i in 1 2 3 4 5 6 7; do log 40 0.3 "0.8$i" >"runs/r$i.log"; done
expect 0 "" graft-plot runs/r?.log --out seven.svg
well_formed seven.svg
shows seven.svg '>r3 (83.0%)</text>'
sed -n 's/^<text x="[^"]*" y="\([^"]*\)".*>r[1-7] ([0-9.]*%)<.*/\1/p' seven.svg | sort -n |
  awk 'NR > 1 && $1 - before < 12 { exit 1 } { before = $1 } END { if (NR != 7) exit 1 }' ||
  fail "names lie on each other"

# A training that went on from an earlier state says its steps again: what came last counts.
mkdir twice
{ log 200 0.6 0.6; log 200 0.2 0.9; } >twice/sst2-lora.jsonl
expect 0 "" graft-plot twice/sst2-lora.jsonl --out twice.svg
cmp one.svg twice.svg || fail "what came first is drawn"

# The log of a program as it is.
tiny_model model
texts 2 64 train >train.tsv
expect 0 "" graft-finetune --model model --train train.tsv --dev train.tsv --strategy head --epochs 2 \
  --batch 8 --quiet --out adapter --log real.log
expect 0 "" graft-plot real.log --out real.svg
well_formed real.svg
shows real.svg '>training loss</text>'

# An old picture stays when there is no new one.
cp one.svg kept.svg
refused() { expect "$1" "$2" graft-plot "${@:3}" --out kept.svg; }
refused 1 "nowhere.log: No such file" runs/r1.log nowhere.log
: >empty.log
refused 1 "empty.log: expected lines of JSON, found an empty file" empty.log
printf '{"step":1,"loss":1}\n{"step":2,"lo\n' >torn.log
refused 1 'torn.log:2: expected a JSON object, found "{\"step\":2,\"lo"' torn.log
printf '{"step":1,"loss":1}\n\n' >gap.log
refused 1 "gap.log:2: expected a JSON object, found an empty line" gap.log
printf '[1]\n' >list.log
refused 1 'list.log:1: expected a JSON object, found "[1]"' list.log
printf '{"loss":1}\n' >stepless.log
refused 1 'stepless.log:1: "step": expected a value, found no such key' stepless.log
printf '{"step":1,"loss":"high"}\n' >word.log
refused 1 'word.log:1: "loss": expected a number, found the string "high"' word.log
printf '{"step":1,"loss":null,"epoch":1}\n' >null.log
refused 1 'null.log: expected numbers "loss" or "dev_...", found none' null.log
refused 2 "expected each log once" runs/r1.log runs/r1.log
refused 2 "--smooth" runs/r1.log --smooth 0
cmp one.svg kept.svg || fail "a refusal changed the old picture"
expect 2 "expected another file than the logs" graft-plot runs/r1.log --out runs/r1.log
expect 1 "no/where.svg" graft-plot runs/r1.log --out no/where.svg
expect 2 "--out is required" graft-plot runs/r1.log
expect 0 "" graft-plot --help
finish
