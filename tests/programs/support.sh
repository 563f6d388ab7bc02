# SPDX-License-Identifier: MIT
# Sourced by the tests of the programs. PROGRAMS is the folder they were built in, WORK a folder of this
# test's own, where it stands when this is done.
set -euo pipefail
: "${PROGRAMS:?}" "${WORK:?}"
rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"
PATH=$PROGRAMS:$PATH
export OMP_NUM_THREADS=1  # a second thread only costs on models this small
failures=0

fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}

# expect CODE WORDS COMMAND...: COMMAND ends with that exit code and says WORDS on stderr; "" is
# anything. Its output is in the files out and err, its input the file $input, if any.
expect() {
  local code=$1 words=$2 found=0
  shift 2
  "$@" >out 2>err <"${input:-/dev/null}" || found=$?
  [ "$found" -eq "$code" ] || fail "$*: expected exit code $code, found $found: $(cat err)"
  [ -z "$words" ] || grep -qF -- "$words" err || fail "$*: expected \"$words\", found: $(cat err)"
}

# equal WHAT A B
equal() { [ "$2" = "$3" ] || fail "$1: expected $2, found $3"; }

# holds WHAT EXPRESSION: an arithmetic comparison of awk's.
holds() { awk "BEGIN { exit !($2) }" || fail "$1: expected $2"; }

# value FILE KEY: a number of a JSON file with a key on each line.
value() { sed -n "s/^ *\"$2\": \([-+0-9.e]*\),\{0,1\}$/\1/p" "$1"; }

finish() {
  [ "$failures" -eq 0 ] || exit 1
  echo "all as expected"
}

# texts SEED COUNT KIND: sentences of a small language with two topics, a and b. Each has 40 nouns of its
# own and verbs of its own; a noun's letters say nothing of its topic.
#   plain      "the NOUN VERB the NOUN", one topic to a sentence
#   train      "a NOUN and a NOUN<TAB>topic", the first 8 nouns of the topic
#   dev        the same with the 32 others
texts() {
  awk -v seed="$1" -v count="$2" -v kind="$3" '
    function below(n) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * n) }
    function word(n, i, w) {
      w = ""
      for (i = 0; i < n; ++i)
        w = w substr("bdfgklmnprstvz", below(14) + 1, 1) substr("aeiou", below(5) + 1, 1)
      return w
    }
    function noun() {
      if (kind == "train") return nouns[topic, below(8)]
      if (kind == "dev") return nouns[topic, 8 + below(32)]
      return nouns[topic, below(40)]
    }
    BEGIN {
      state = 42  # the language is the same for every seed
      for (topic = 0; topic < 2; ++topic) {
        for (i = 0; i < 40; ++i) nouns[topic, i] = word(3)
        for (i = 0; i < 4; ++i) verbs[topic, i] = word(2)
      }
      state = seed
      for (i = 0; i < 10; ++i) below(2)
      for (i = 0; i < count; ++i) {
        topic = below(2)
        if (kind == "plain")
          print "the " noun() " " verbs[topic, below(4)] " the " noun()
        else
          print "a " noun() " and a " noun() "\t" (topic == 0 ? "a" : "b")
      }
    }'
}

# tiny_model DIR [OPTION...]: a model that is good for nothing but fast.
tiny_model() {
  texts 1 200 plain >tiny.txt
  graft-pretrain --texts tiny.txt --out "$@" --layers 2 --width 16 --heads 2 --vocabulary 200 \
    --positions 32 --epochs 1 --quiet
}
