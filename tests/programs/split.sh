#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-split: parts with every line once and no group twice, in files that graft-finetune reads.
. "$(dirname "$0")/support.sh"

# 300 lines of two labels, some of them twice; of 40 sources in column 3.
texts 5 250 train | sort -u >some.txt
texts 6 250 dev >>some.txt
head -300 some.txt | awk '{ print $0 "\tsource " (NR * 7) % 40 "\tmore" }' >data.tsv
cut -f 1,2 data.tsv >plain.tsv
lines=$(wc -l <data.tsv)

# once FILE...: the files are the lines of plain.tsv.
once() { cat "$@" | sort | cmp - <(sort plain.tsv) || fail "not each line once: $*"; }
# apart COLUMN FILE...: no two files have a value of data.tsv's column in common.
apart() {
  local column=$1 file
  shift
  for file in "$@"; do
    awk -F '\t' -v column="$column" 'NR == FNR { value[$1 "\t" $2] = $column; next }
      { print value[$1 "\t" $2] }' data.tsv "$file" | sort -u
  done | sort | uniq -d | grep -q . && fail "column $column is parted among $*" || true
}

expect 0 "" graft-split --data plain.tsv --out one
parts="one/train.tsv one/dev.tsv one/test.tsv"
equal "files" "dev.tsv test.tsv train.tsv" "$(ls one | xargs)"
once $parts
apart 1 $parts
holds "train is 80 %" "($(wc -l <one/train.tsv) - 0.8 * $lines) ^ 2 <= 4"
holds "dev is 10 %" "($(wc -l <one/dev.tsv) - 0.1 * $lines) ^ 2 <= 4"
a() { awk -F '\t' '$2 == "a" { ++n } END { print n / NR }' "$1"; }
holds "labels are spread" "($(a one/dev.tsv) - $(a plain.tsv)) ^ 2 < 0.05 ^ 2"
equal "header" " all train dev test" "$(head -1 out | tr -s ' ')"
equal "lines" "lines $lines $(cat $parts | wc -l)" \
  "$(sed -n 2p out | awk '{ print $1, $2, $3 + $4 + $5 }')"
equal "lines of dev" "$(wc -l <one/dev.tsv)" "$(sed -n 2p out | awk '{ print $4 }')"
grep -q '^label a  *[0-9.]*%  *[0-9.]*%  *[0-9.]*%  *[0-9.]*%$' out || fail "no labels: $(cat out)"

# Seeds.
graft-split --data plain.tsv --out two >/dev/null
diff -r one two || fail "equal seeds, different parts"
graft-split --data plain.tsv --out three --seed 1 >/dev/null
cmp -s one/dev.tsv three/dev.tsv && fail "different seeds, equal parts"

# Groups by a column, and through equal texts.
expect 0 "" graft-split --data data.tsv --out grouped --group-column 3 --shares 60,20,20
once grouped/train.tsv grouped/dev.tsv grouped/test.tsv
printf 'x\t1\tA\nz\t0\tB\ny\t1\tA\ny\t0\tB\nx\t0\tC\np\t1\tD\nq\t0\tE\n' >linked.tsv
expect 0 "" graft-split --data linked.tsv --out linked --group-column 3 --shares 1,1,1
equal "the linked lines" 5 "$(wc -l <linked/train.tsv)"
equal "shares" "share 100.0% 71.4% 14.3% 14.3%" "$(sed -n 3p out | tr -s ' ')"
equal "groups" "groups 3 1 1 1" "$(sed -n 4p out | tr -s ' ')"
equal "label 0" "label 0 57.1% 60.0%" "$(sed -n 5p out | tr -s ' ' | cut -d ' ' -f 1-4)"
equal "label 1" "label 1 42.9% 40.0%" "$(sed -n 6p out | tr -s ' ' | cut -d ' ' -f 1-4)"
awk '{ print "text " NR "\t" NR % 2 "\tsource " NR % 30 }' plain.tsv >data.tsv
cut -f 1,2 data.tsv >plain.tsv
expect 0 "" graft-split --data data.tsv --out sources --group-column 3
once sources/train.tsv sources/dev.tsv sources/test.tsv
apart 3 sources/train.tsv sources/dev.tsv sources/test.tsv
equal "groups" "groups 30 24 3 3" "$(sed -n 4p out | tr -s ' ')"

# Folds.
expect 0 "" graft-split --data data.tsv --out folds --folds 3 --group-column 3
equal "folds" "fold_0 fold_1 fold_2" "$(ls folds | xargs)"
once folds/fold_*/dev.tsv
apart 3 folds/fold_*/dev.tsv
for fold in folds/fold_*; do
  once $fold/train.tsv $fold/dev.tsv
  apart 3 $fold/train.tsv $fold/dev.tsv
done
equal "header" " all fold_0 fold_1 fold_2" "$(head -1 out | tr -s ' ')"
graft-split --data data.tsv --out others --folds 3 --group-column 3 --seed 1 >/dev/null
cmp -s folds/fold_0/dev.tsv others/fold_0/dev.tsv && fail "different seeds, equal folds"

# Headers go with the parts; a line that says the same further down stays a line.
printf '\xef\xbb\xbfsentence\tlabel\tsource\r\na\t1\tx\r\nb\t0\ty\r\n' >header.tsv
expect 0 "" graft-split --data header.tsv --out header --shares 1,1
equal "a file" "$(printf 'sentence\tlabel')" "$(head -1 header/train.tsv)"
equal "lines" 4 "$(cat header/*.tsv | wc -l)"
printf 'a\t1\r\nb\t1\r\n' >crlf.tsv
graft-split --data crlf.tsv --out crlf --shares 1,1 >/dev/null
equal "lines without CR" "$(printf 'a\t1\nb\t1')" "$(sort crlf/*.tsv)"
printf 'first\t1\ntext\tlabel\n' >late.tsv
expect 0 "has no text of label" graft-split --data late.tsv --out late --shares 1,1
equal "the late header" 2 "$(cat late/*.tsv | grep -c "$(printf 'text\tlabel')")"
equal "files" "dev.tsv train.tsv" "$(ls late | xargs)"

# What it writes is what graft-finetune reads.
tiny_model model
expect 0 "" graft-finetune --model model --train one/train.tsv --dev one/dev.tsv \
  --test one/test.tsv --strategy head --epochs 1 --out tuned --quiet

printf 'fine\t1\nbad \xff\t0\n' >latin.tsv
printf 'a\t1\nb\n' >short.tsv
: >empty.tsv
expect 0 "" graft-split --help
expect 1 "nowhere.tsv" graft-split --data nowhere.tsv --out x
expect 1 "latin.tsv:2: expected UTF-8, found an invalid sequence at byte 4" \
  graft-split --data latin.tsv --out x
expect 1 "short.tsv:2: expected text<TAB>label, found 1 column" \
  graft-split --data short.tsv --out x
expect 1 "empty.tsv: expected lines text<TAB>label, found none" graft-split --data empty.tsv --out x
expect 1 "data.tsv:1: expected a group in column 4, found 3 columns" \
  graft-split --data data.tsv --out x --group-column 4
printf 'a\t1\tx\nb\t1\t\n' >blank.tsv
expect 1 "blank.tsv:2: expected a group in column 3, found an empty column" \
  graft-split --data blank.tsv --out x --group-column 3
printf 'a\t1\na\t0\nb\t0\n' >few.tsv
expect 1 "few.tsv: expected at least 3 groups, one for each part, found 2" \
  graft-split --data few.tsv --out x
expect 2 "--data is required" graft-split --out x
expect 2 "--group-column" graft-split --data data.tsv --out x --group-column 2
expect 2 "--shares" graft-split --data data.tsv --out x --shares 100
expect 2 "--shares" graft-split --data data.tsv --out x --shares 25,25,25,25
expect 2 "--shares" graft-split --data data.tsv --out x --shares 80,20,0
expect 2 "--folds" graft-split --data data.tsv --out x --folds 1
expect 2 "--shares" graft-split --data data.tsv --out x --folds 3 --shares 1,1
[ ! -e x ] || fail "bad input left a folder behind"

# Parts of another split are not left beside new ones, and nothing is written where not all can be.
expect 1 "one: expected no parts of another split, found test.tsv" \
  graft-split --data plain.tsv --out one --shares 1,1
expect 1 "folds: expected no parts of another split, found fold_2" \
  graft-split --data plain.tsv --out folds --folds 2
mkdir -p blocked/test.tsv
expect 1 "blocked/test.tsv: expected a place for a file" graft-split --data plain.tsv --out blocked
equal "blocked" "test.tsv" "$(ls blocked)"
finish
