#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Tasks other than a class for each text: graft-finetune, graft-predict and graft-compare for regression,
# pairs, token-classification and question-answering; graft-similarity; and folds.
. "$(dirname "$0")/support.sh"

tiny_model model
tune() { graft-finetune --model model --lr 1e-2 --quiet "$@"; }
ask() { graft-predict --model model "$@"; }

# Regression: the score is how often a topic comes.
texts 2 64 train | awk -F'\t' '{ print $1 "\t" ($2 == "a" ? 1.5 : -0.5) }' >numbers.tsv
texts 3 40 dev | awk -F'\t' '{ print $1 "\t" ($2 == "a" ? 1.5 : -0.5) }' >numbers-dev.tsv
expect 0 "" tune --task regression --train numbers.tsv --dev numbers-dev.tsv --test numbers-dev.tsv \
  --strategy full --epochs 8 --out numbers --json numbers.json
for key in dev_loss dev_pearson dev_spearman test_pearson test_loss; do
  [ -n "$(value numbers.json $key)" ] || fail "numbers.json has no number $key"
done
grep -q accuracy numbers.json && fail "a regression has no accuracy"
grep -q '"task": "regression"' numbers/graft_adapter.json || fail "the adapter does not tell its task"
cut -f 1 numbers-dev.tsv | ask --adapter numbers >numbers.out
loss=$(paste numbers.out <(cut -f 2 numbers-dev.tsv) | awk '{ s += ($1 - $2) ^ 2 } END { print s / NR }')
holds "the numbers predicted have the loss told" "($loss - $(value numbers.json dev_loss)) ^ 2 < 1e-8"
printf 'a text\tmuch\n' >words.tsv
expect 1 'words.tsv:1: expected' tune --task regression --train words.tsv --dev numbers-dev.tsv \
  --strategy head --out nothing
expect 1 "expected one of pearson, spearman, found accuracy" tune --task regression --train numbers.tsv \
  --dev numbers-dev.tsv --strategy head --monitor accuracy --out nothing
expect 1 "expected neither class weights nor smoothing for regression" tune --task regression \
  --train numbers.tsv --dev numbers-dev.tsv --strategy head --smoothing 0.1 --out nothing

# Pairs: of one topic or of two.
pairs() {
  paste <(texts "$1" "$3" "$2") <(texts "$(($1 + 50))" "$3" "$2") |
    awk -F'\t' '{ print $1 "\t" $3 "\t" ($2 == $4 ? "same" : "other") }'
}
pairs 5 train 64 >pairs.tsv
pairs 6 dev 40 >pairs-dev.tsv
expect 0 "" tune --pairs --train pairs.tsv --dev pairs-dev.tsv --strategy lora --out pairs --json pairs.json
hits=$(cut -f 1,2 pairs-dev.tsv | ask --adapter pairs | cut -f 1 |
  paste - <(cut -f 3 pairs-dev.tsv) | awk '$1 == $2' | wc -l)
holds "pairs: accuracy" "$hits == 40 * $(value pairs.json dev_accuracy)"
expect 1 "pairs.tsv:1: expected" tune --train pairs.tsv --dev pairs-dev.tsv --strategy lora --out nothing
expect 2 "--augment" tune --pairs --train pairs.tsv --dev pairs-dev.tsv --strategy lora --out nothing \
  --augment swap:0.1
printf 'one text\n' >one.txt
input=one.txt expect 1 "standard input:1: expected text<TAB>text, found no tab" ask --adapter pairs
input=one.txt expect 0 "" ask --adapter pairs --single
expect 2 "--pairs: is for classification and regression" tune --pairs --task question-answering \
  --train pairs.tsv --dev pairs.tsv --strategy head --out nothing
expect 2 "--unanswerable: does not go with classification" ask --adapter pairs --unanswerable

# Token classification: the nouns of each topic are names.
names() {
  texts "$1" "$3" "$2" | awk -F'\t' '{ n = split($1, word, " ");
    for (i = 1; i <= n; ++i) print word[i] "\t" (i == 2 || i == 5 ? "B-" toupper($2) : "O"); print "" }'
}
names 7 train 64 >names.conll
names 8 train 20 >names-dev.conll
expect 0 "" tune --task token-classification --train names.conll --dev names-dev.conll --test names-dev.conll \
  --strategy full --epochs 10 --out names --json names.json
holds "names are found" "$(value names.json dev_f1) > 0.6"
for key in dev_precision dev_recall dev_accuracy test_f1; do
  [ -n "$(value names.json $key)" ] || fail "names.json has no number $key"
done
awk 'NF { line = line (line == "" ? "" : " ") $1 } !NF { print line; line = "" }' names-dev.conll >names.txt
ask --adapter names <names.txt >names.out
equal "a line of tags for each sentence" 20 "$(wc -l <names.out)"
hits=$(tr ' ' '\n' <names.out | paste - <(awk 'NF { print $2 }' names-dev.conll) | awk '$1 == $2' | wc -l)
holds "the tags predicted have the accuracy told" \
  "($hits / 100 - $(value names.json dev_accuracy)) ^ 2 < 1e-9"
equal "words that are cut off" "_ _ _" "$(head -1 names.txt | ask --adapter names --max-length 4 2>err |
  cut -d ' ' -f 3-5)"
grep -q "1 text has more than 4 tokens and was cut" err || fail "no warning of the cut: $(cat err)"
printf 'word\n' >bad.conll
expect 1 "bad.conll:1: expected word<TAB>tag" tune --task token-classification --train bad.conll \
  --dev names-dev.conll --strategy head --out nothing
printf 'a O\nword B-NEW\n\n' >new.conll
expect 1 "new.conll:2: expected a label of the training file" tune --task token-classification \
  --train names.conll --dev new.conll --strategy head --out nothing

# Question answering: which noun is of a topic?
questions() {
  texts "$1" "$3" train | awk -F'\t' -v none="$2" '
    BEGIN { printf "{\"data\": [{\"paragraphs\": [" }
    { split($1, w, " "); lacking = none && NR % 4 == 0
      printf "%s{\"context\": \"%s\", \"qas\": [{\"id\": \"q%d\", \"question\": \"the %s\", ", \
        (NR > 1 ? ", " : ""), $1, NR, (lacking ? "verb" : "second")
      if (lacking) printf "\"is_impossible\": true, \"answers\": []}]}"
      else printf "\"answers\": [{\"text\": \"%s\", \"answer_start\": %d}]}]}", w[5], (length($1) - length(w[5])) }
    END { print "]}]}" }'
}
questions 9 0 64 >questions.json
questions 10 0 20 >questions-dev.json
expect 0 "" tune --task question-answering --train questions.json --dev questions-dev.json \
  --test questions-dev.json --strategy full --epochs 10 --out answers --json answers.json
holds "answers are found" "$(value answers.json dev_exact_match) > 0.6"
[ -n "$(value answers.json test_f1)" ] || fail "answers.json has no number test_f1"
texts 10 20 train | cut -f 1 | sed 's/^/the second\t/' | ask --adapter answers >answers.out
hits=$(paste answers.out <(texts 10 20 train | cut -f 1 | awk '{ print $5 }') | awk '$1 == $2' | wc -l)
holds "the answers predicted have the score told" \
  "($hits / 20 - $(value answers.json dev_exact_match)) ^ 2 < 1e-9"
questions 9 1 64 >some.json
expect 0 "" tune --task question-answering --train some.json --dev some.json --strategy full --epochs 8 \
  --out unsure --json unsure.json
# As in training, a question may have no answer.
texts 9 64 train | cut -f 1 | awk '{ print "the " (NR % 4 ? "second" : "verb") "\t" $0 }' |
  ask --adapter unsure >unsure.out
hits=$(paste -d '|' unsure.out <(texts 9 64 train | cut -f 1 | awk '{ print NR % 4 ? $5 : "" }') |
  awk -F'|' '$1 == $2' | wc -l)
holds "the answers predicted, or none, have the score told" \
  "($hits / 64 - $(value unsure.json dev_exact_match)) ^ 2 < 1e-9"
texts 9 4 train | cut -f 1 | sed 's/^/the verb\t/' | ask --adapter unsure --answerable | grep -q '^$' &&
  fail "--answerable gives no answer"
printf '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "x", "question": "q", "answers": [{"text": "c", "answer_start": 1}]}]}]}]}' >wrong.json
expect 1 'question "x"' tune --task question-answering --train wrong.json --dev wrong.json --strategy head \
  --out nothing
input=one.txt expect 1 "standard input:1: expected question<TAB>text" ask --adapter answers

# The figures of graft-compare are those of graft-finetune.
expect 0 "" graft-compare --model model --task question-answering --train questions.json \
  --dev questions-dev.json --strategies lora --seeds 1 --epochs 3 --lr 1e-2 --quiet --out found
expect 0 "" tune --task question-answering --train questions.json --dev questions-dev.json --strategy lora \
  --out found-again --json found.json
equal "f1 of answers" "$(value found/runs/lora-0.json dev_f1)" "$(value found.json dev_f1)"
expect 0 "" graft-compare --model model --task question-answering --train questions.json --folds 2 \
  --strategies head --epochs 1 --quiet --out parts
[ -n "$(value parts/runs/head-1.json dev_f1)" ] || fail "no f1 of a fold"

# An adapter stays with its task; a snapshot brings a run to the same end; changed data do not.
expect 0 "" tune --task token-classification --train names.conll --dev names-dev.conll --strategy lora \
  --save-every 3 --out whole
expect 0 "" tune --task token-classification --train names.conll --dev names-dev.conll --strategy lora \
  --save-every 3 --resume --out whole
expect 1 "expected the run that --resume goes on with" tune --task token-classification --train names.conll \
  --dev names-dev.conll --strategy lora --save-every 3 --resume --batch 4 --out whole

# Strategies are compared by the task's own score; folds take the place of a file.
expect 0 "" graft-compare --model model --task token-classification --train names.conll --dev names-dev.conll \
  --strategies head,lora --seeds 1 --epochs 1 --quiet --out compared
grep -q "dev f1" out || fail "not compared by f1: $(cat out)"
head -1 compared/compare.csv | grep -q ',dev_f1,dev_f1_error,' || fail "no f1: $(head -1 compared/compare.csv)"
expect 2 "--budget" graft-compare --model model --task token-classification --train names.conll \
  --dev names-dev.conll --budget 5s --out nothing
texts 2 60 train >train.tsv
expect 0 "" graft-compare --model model --train train.tsv --folds 3 --strategies head --epochs 1 --batch 8 \
  --quiet --out folds
equal "runs of folds" 3 "$(ls folds/runs | wc -l)"
grep -q "^head .* ± .* 3$" out || fail "no line for head: $(cat out)"
expect 0 "" graft-compare --model model --train train.tsv --folds 3 --strategies head --epochs 1 --batch 8 \
  --quiet --out folds-again
for i in 0 1 2; do
  equal "fold $i again" "$(value folds/runs/head-$i.json dev_loss)" \
    "$(value folds-again/runs/head-$i.json dev_loss)"
done
equal "folds differ" 3 "$(for i in 0 1 2; do value folds/runs/head-$i.json dev_loss; done | sort -u | wc -l)"
expect 2 "--dev" graft-compare --model model --train train.tsv --strategies head --out nothing
head -6 train.tsv >six.tsv
expect 1 "expected at least as many groups as parts" graft-compare --model model --train six.tsv \
  --folds 9 --strategies head --out nothing
two=(--train train.tsv --dev train.tsv --strategy head:1,lora:2 --save-every 2 --out staged)
expect 0 "" tune "${two[@]}"
rm -r staged/snapshots/2 staged/graft_adapter.*
sed -i 's/a$/c/; s/b$/a/; s/c$/b/' train.tsv
expect 1 "train is" tune "${two[@]}" --resume

# A sentence encoder learns what lies together.
pairs 11 train 96 | sed 's/same$/1/; s/other$/0/' >alike.tsv
pairs 12 train 40 | sed 's/same$/1/; s/other$/0/' >alike-dev.tsv
alike() { graft-similarity --model model --train alike.tsv --dev alike-dev.tsv --epochs 4 --lr 1e-2 "$@"; }
expect 0 "" alike --out alike
read -r before after < <(sed -n 's/^dev before: spearman \([-0-9.e]*\),.*after: spearman \([-0-9.e]*\),.*/\1 \2/p' out)
holds "likeness is learned" "$after > $before"
expect 0 "" alike --ranking --quiet --out ranked
expect 2 "--batch: expected at least 2 with --ranking" alike --ranking --batch 1 --out nothing
cut -f 1 alike-dev.tsv | graft-encode --model model --adapter alike >tuned.vectors
cut -f 1 alike-dev.tsv | graft-encode --model model >plain.vectors
cmp -s tuned.vectors plain.vectors && fail "the adapter changes nothing"
equal "vectors" 40 "$(wc -l <tuned.vectors)"
expect 1 "alike.tsv:1: expected a score from --low to --high, found" alike --low 5 --high 6 --out nothing
expect 1 "found one of a model for classification" graft-encode --model model --adapter pairs
finish
