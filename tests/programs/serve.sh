#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-serve: what graft-predict says, for many adapters at once; limits, and what is refused.
. "$(dirname "$0")/support.sh"
export LC_ALL=C

server=
end_server() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; }
trap end_server EXIT

# start MODEL OPTION...: a server with these options on a port of its own, $port.
start() {
  : >served
  graft-serve --port 0 --model "$@" >served 2>serve.err &
  server=$!
  local i
  for ((i = 0; i < 300; ++i)); do
    port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' served)
    [ -z "$port" ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "FAILED: no server: $(cat serve.err)" >&2
  exit 1
}

# stop [CODE]: ends the server, which must exit with this code.
stop() {
  local found=0
  kill -TERM "$server"
  wait "$server" || found=$?
  equal "exit code after SIGTERM" "${1:-0}" "$found"
  server=
}

# send FILE: what the server says to the bytes of standard input. It hangs up when it has said it.
send() {
  exec 9<>"/dev/tcp/127.0.0.1/$port"
  cat >&9 2>/dev/null || true
  cat <&9 >"$1" 2>/dev/null || true
  exec 9<&- 9>&-
}

# request METHOD PATH BODY [HEADER]: the text of a request.
request() {
  printf '%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n%s' \
    "$1" "$2" "${#3}" "${4:+$4$'\r\n'}" "$3"
}
status_of() { sed -n '1s/^HTTP\/1.1 \([0-9]*\).*/\1/p' "$1"; }
body_of() { sed '1,/^\r$/d' "$1"; }

# ask STATUS WORDS METHOD PATH BODY [HEADER]: a request is answered so, in JSON; its answer is in `body`.
ask() {
  request "${@:3}" | send reply
  equal "${*:3:2} ${5:0:60}: status" "$1" "$(status_of reply)"
  body_of reply >body
  grep -qF -- "$2" body || fail "${*:3:2} ${5:0:60}: expected \"$2\", found: $(head -c 300 body)"
  [ "$1" -lt 400 ] || grep -q '^{"error":".*"}$' body || fail "no error in JSON: $(cat body)"
}

# texts_json FILE: its lines as a list of strings.
texts_json() { sed 's/.*/"&"/' "$1" | paste -sd , | sed 's/.*/[&]/'; }
# logits_of FILE: a line of numbers for each result.
logits_of() { grep -o '"logits":\[[^]]*\]' "$1" | tr ',' '\t' | tr -d '"logits:[]'; }
# close_to A B: files of numbers.
close_to() {
  [ "$(wc -w <"$1")" -eq "$(wc -w <"$2")" ] && paste -d '\t' "$1" "$2" | awk '
    { for (i = 1; i <= NF / 2; ++i) if (($i - $(i + NF / 2)) ^ 2 > 1e-10) exit 1 }'
}

tiny_model model
texts 2 64 train >train.tsv
texts 3 20 dev | cut -f 1 >dev.txt
mkdir adapters
for seed in 1 2 3; do
  graft-finetune --model model --train train.tsv --dev train.tsv --strategy lora --epochs 1 --batch 8 \
    --seed "$seed" --lr 0.02 --out "adapters/a$seed" --quiet
  graft-predict --model model --adapter "adapters/a$seed" --logits <dev.txt >"expected$seed"
  graft-predict --model model --adapter "adapters/a$seed" <dev.txt >"labels$seed"
done
cmp -s expected1 expected2 && fail "two adapters that are alike test nothing"
graft-finetune --model model --train train.tsv --dev train.tsv --strategy houlsby --epochs 1 --out adapters/houlsby \
  --quiet
awk -F '\t' '{ print $1 "\t" NR % 7 }' train.tsv >scores.tsv
graft-finetune --model model --train scores.tsv --dev scores.tsv --task regression --strategy lora --epochs 1 \
  --out adapters/score --quiet
awk -F '\t' '{ n = split($1, w, " "); for (i = 1; i <= n; ++i) print w[i] "\t" (w[i] == "a" ? "A" : "O"); print "" }' \
  train.tsv >tags.tsv
graft-finetune --model model --train tags.tsv --dev tags.tsv --task token-classification --strategy lora --epochs 1 \
  --max-length 9 --out adapters/tags --quiet
awk -F '\t' 'BEGIN { printf "{\"version\": \"1.1\", \"data\": [{\"paragraphs\": [" }
  { printf "%s{\"context\": \"%s\", \"qas\": [{\"id\": \"%d\", \"question\": \"who\", \"answers\": [{\"text\": \"a\", \"answer_start\": 0}]}]}", (NR > 1 ? "," : ""), $1, NR }
  END { print "]}]}" }' train.tsv >questions.json
graft-finetune --model model --train questions.json --dev questions.json --task question-answering --strategy lora \
  --epochs 1 --max-length 12 --out adapters/answers --quiet

start model --adapter a1=adapters/a1 --allow-adapters adapters --max-batch 8 --max-wait 20 \
  --max-body 4096 --max-queue 100 --max-adapters 6

# Adapters come, and say what graft-predict says.
ask 201 '{"adapter":"a2"}' PUT /adapters/a2 '{"folder": "a2"}'
ask 201 '{"adapter":"a3"}' PUT /adapters/a3 '{"folder": "./a3/"}'
ask 200 '"a1":{"task":"classification","labels":["a","b"]' GET /adapters ''
grep -q '"base":null' body || fail "a base without a head: $(cat body)"
for n in 1 2 3; do
  ask 200 "\"adapter\":\"a$n\"" POST /predict "{\"adapter\": \"a$n\", \"texts\": $(texts_json dev.txt)}"
  logits_of body >found
  close_to "expected$n" found || fail "a$n: not graft-predict's logits"
  equal "a$n: labels" "$(cut -f 1 "labels$n")" "$(grep -o '"label":"[^"]*"' body | cut -d '"' -f 4)"
  grep -o '"probability":[0-9.e-]*' body | cut -d : -f 2 >found
  cut -f 2 "labels$n" >wanted
  close_to wanted found || fail "a$n: not graft-predict's probabilities"
done

# Many at once, each text with another adapter than the one before.
body_of_health() { ask 200 '"status":"serving"' GET /health ''; sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" body; }
before=$(body_of_health batches)
line=0
jobs=()
while read -r text; do
  n=$((line % 3 + 1))
  line=$((line + 1))
  sed -n "${line}p" "expected$n" >"wanted.$line"
  request POST /predict "{\"adapter\":\"a$n\",\"texts\":[\"$text\"]}" | send "reply.$line" &
  jobs+=($!)
done <dev.txt
wait "${jobs[@]}"
for ((i = 1; i <= line; ++i)); do
  equal "at once: status" 200 "$(status_of "reply.$i")"
  body_of "reply.$i" >body
  logits_of body >found
  close_to "wanted.$i" found || fail "at once: text $i has other logits than alone"
done
holds "requests at once share batches" "$(body_of_health batches) - $before < $line"

# The other tasks.
ask 201 score PUT /adapters/score '{"folder": "score"}'
ask 200 '"task":"regression"' POST /predict "{\"adapter\":\"score\",\"texts\":$(texts_json dev.txt)}"
grep -o '"value":[-0-9.e]*' body | cut -d : -f 2 >found
graft-predict --model model --adapter adapters/score <dev.txt >wanted
close_to wanted found || fail "regression: not graft-predict's numbers"
ask 201 tags PUT /adapters/tags '{"folder": "tags"}'
ask 200 '"task":"token-classification"' POST /predict \
  "{\"adapter\":\"tags\",\"texts\":$(texts_json dev.txt)}"
grep -o '"tags":\[[^]]*\]' body | sed 's/"tags":\[//; s/\]//; s/null/_/g; s/"//g; s/,/ /g' >found
graft-predict --model model --adapter adapters/tags <dev.txt | cmp -s - found ||
  fail "token-classification: not graft-predict's tags"
grep -q '_' found || fail "no word was cut off"
ask 400 'for token-classification' POST /predict '{"adapter": "tags", "pairs": [["a", "b"]]}'
ask 201 answers PUT /adapters/answers '{"folder": "answers"}'
sed 's/.*/["who","&"]/' dev.txt | paste -sd , >pairs
ask 200 '"task":"question-answering"' POST /predict "{\"adapter\":\"answers\",\"pairs\":[$(cat pairs)]}"
grep -o '"answer":"[^"]*"' body | cut -d '"' -f 4 >found
sed 's/.*/who\t&/' dev.txt | graft-predict --model model --adapter adapters/answers | cmp -s - found ||
  fail "question-answering: not graft-predict's answers"
ask 400 'for question-answering' POST /predict '{"adapter": "answers", "texts": ["a"]}'
ask 507 'at most 6 adapters' PUT /adapters/more '{"folder": "a2"}'
ask 200 '{"adapter":"a2"}' PUT /adapters/a2 '{"folder": "a3"}'  # in place of the one that was there
ask 200 results POST /predict "{\"adapter\": \"a2\", \"texts\": $(texts_json dev.txt)}"
logits_of body >found
close_to expected3 found || fail "the adapter that came in a2's place is not a3"

# Pairs, long texts, none, and whatever JSON allows in a text.
printf '["one","two"]' >pair
ask 200 '"label"' POST /predict "{\"adapter\": \"a1\", \"pairs\": [$(cat pair)]}"
logits_of body >found
printf 'one\ttwo\n' | graft-predict --model model --adapter adapters/a1 --pairs --logits >wanted
close_to wanted found || fail "pairs: not graft-predict's logits"
long=$(printf 'word %.0s' {1..60})
ask 200 '"cut":true' POST /predict "{\"adapter\": \"a1\", \"texts\": [\"$long\"]}"
ask 200 '"results":[]' POST /predict '{"adapter": "a1", "texts": []}'
ask 200 '"label"' POST /predict '{"adapter": "a1", "texts": ["", "\u0000\n\"\ud83d\ude00 \u202e"]}'

# Adapters go.
ask 200 '{"adapter":"a3"}' DELETE /adapters/a3 ''
ask 404 'found \"a3\"' POST /predict '{"adapter": "a3", "texts": ["x"]}'
ask 404 'found \"a3\"' DELETE /adapters/a3 ''

# What is no request.
for bad in '' '{' '[]' 'null' '"texts"' '{}' '{"adapter": "a1"}' '{"texts": "x"}' '{"texts": [1]}' \
  '{"texts": [["x"]]}' '{"texts": [null]}' '{"adapter": 7, "texts": []}' '{"texts": [], "pairs": []}' \
  '{"pairs": ["x"]}' '{"pairs": [["x"]]}' '{"pairs": [["x", "y", "z"]]}' '{"pairs": [["x", 1]]}' \
  '{"texts": [], "more": 1}' '{"texts": [], "texts": []}' '{"texts": []} {}' '{"texts": [NaN]}' \
  '{"texts": ["\ud800"]}' $'{"texts": ["\xff"]}' $'{"texts": ["\xc0\x80"]}' '{"texts": [1e999]}' \
  "$(printf '[%.0s' {1..500})" "{\"texts\": $(printf '{"a":%.0s' {1..100})"; do
  ask 400 error POST /predict "$bad"
done
ask 400 'since the base has no head' POST /predict '{"texts": ["x"]}'
ask 400 'since the base has no head' POST /predict '{"adapter": null, "texts": ["x"]}'
ask 404 error POST /predict '{"adapter": "nobody", "texts": ["x"]}'
ask 404 error POST /predict '{"adapter": "../a1", "texts": ["x"]}'
ask 404 'expected POST /predict' GET /predict ''
ask 404 'expected POST /predict' POST / '{}'
ask 404 'expected POST /predict' PATCH /adapters/a1 '{}'
ask 404 'expected POST /predict' GET "/$(printf 'a%.0s' {1..6000})" ''
ask 404 'expected POST /predict' DELETE "/adapters/$(printf 'a%.0s' {1..6000})" ''
ask 414 error GET "/$(printf 'a%.0s' {1..9000})" ''
ask 400 'expected an HTTP request' NONSENSE / ''
printf '\r\n\r\n' | send reply
equal "no request at all: status" 400 "$(status_of reply)"

# Limits.
ask 413 'a body of at most 4096 bytes' POST /predict \
  "{\"adapter\": \"a1\", \"texts\": [\"$(printf 'x%.0s' {1..5000})\"]}"
ask 413 'at most 100 texts, found 101' POST /predict \
  "{\"adapter\": \"a1\", \"texts\": [$(printf '"x",%.0s' {1..100})\"x\"]}"
ask 413 'at most 100 sequences' POST /predict "{\"adapter\": \"answers\", \"pairs\": [[\"who\", \"$(printf 'a b %.0s' {1..900})\"]]}"
printf 'POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n' | send reply
equal "chunks: status" 411 "$(status_of reply)"
printf 'POST /predict HTTP/1.1\r\n\r\n' | send reply
equal "no length: status" 411 "$(status_of reply)"
# What follows a request is not taken for another one.
{ request POST /predict '{}' && request DELETE /adapters/a1 ''; } | send reply
equal "answers on one connection" 1 "$(grep -c '^HTTP/1.1' reply)"
# No part of an answer, no form, no compression.
ask 200 '"status":"serving"' GET /health '' 'Range: bytes=0-3'
ask 200 '"status":"serving"' GET /health '' 'Accept-Encoding: gzip'
ask 200 '"label"' POST /predict '{"adapter": "a1", "texts": ["x"]}' 'Content-Encoding: gzip'
ask 200 '"label"' POST /predict '{"adapter": "a1", "texts": ["x"]}' \
  'Content-Type: multipart/form-data; boundary=x'

# Folders: below adapters/ and nowhere else.
mkdir elsewhere
cp -r adapters/a2 elsewhere/a2
ln -s ../elsewhere adapters/out
ln -s a2 adapters/link
touch adapters/file
for bad in ../elsewhere/a2 ../adapters/a2 a2/../../elsewhere/a2 .. "$PWD/adapters/a2" /etc out out/a2 '' \
  'a2\u0000/../..'; do
  ask 403 'folder: expected' PUT /adapters/score "{\"folder\": \"$bad\"}"
done
ask 200 score PUT /adapters/score '{"folder": "link"}'
ask 404 'folder: expected' PUT /adapters/score '{"folder": "nowhere"}'
ask 404 'folder: expected' PUT /adapters/score '{"folder": "file"}'
ask 400 'bottleneck' PUT /adapters/score '{"folder": "houlsby"}'
ask 400 'expected an adapter' PUT /adapters/score '{"folder": "."}'
for bad in '' '{}' '{"folder": 1}' '{"folder": "a2", "x": 1}' '["a2"]'; do
  ask 400 error PUT /adapters/score "$bad"
done
for bad in %2e%2e%2fa2 a%20b a%00b a%0ab %ff "$(printf 'a%.0s' {1..101})"; do
  ask 400 'expected a name' PUT "/adapters/$bad" '{"folder": "a2"}'
done
cp -r adapters/a2 adapters/broken
head -c 200 adapters/a2/graft_adapter.safetensors >adapters/broken/graft_adapter.safetensors
ask 400 'broken' PUT /adapters/a1 '{"folder": "broken"}'
ask 200 '"label"' POST /predict '{"adapter": "a1", "texts": ["the old one stays"]}'
stop

# A queue that is full, and a server that ends: what was taken is answered whole.
start model --adapter a1=adapters/a1 --max-queue 4 --max-wait 60000
request POST /predict '{"adapter": "a1", "texts": ["a", "b", "c"]}' | send reply.first &
first=$!
for ((i = 0; i < 100; ++i)); do
  ask 200 waiting GET /health ''
  ! grep -q '"waiting":3' body || break
  sleep 0.1
done
ask 429 'too many texts' POST /predict '{"adapter": "a1", "texts": ["a", "b"]}'
grep -q '^Retry-After: 1' reply || fail "no Retry-After: $(cat reply)"
ask 200 '"refused":1' GET /health ''
ask 403 'began with' PUT /adapters/a2 '{"folder": "a2"}'
ask 403 'began with' DELETE /adapters/a1 ''
request POST /predict '{"adapter": "a1", "texts": ["x"]}' >late
exec 8<>"/dev/tcp/127.0.0.1/$port"
head -c 20 late >&8
sleep 0.5
kill -INT "$server"
sleep 0.5
tail -c +21 late >&8
cat <&8 >reply
exec 8<&- 8>&-
equal "while it ends: status" 503 "$(status_of reply)"
grep -q 'shutting down' reply || fail "while it ends: $(cat reply)"
wait "$first"
equal "queued when it ended: status" 200 "$(status_of reply.first)"
equal "queued when it ended: results" 3 "$(body_of reply.first | grep -o '"label"' | wc -l)"
found=0
wait "$server" || found=$?
equal "exit code after SIGINT" 0 "$found"

# A base that has a head answers without an adapter; and requests alone when there is no company.
graft-merge --model model --adapter adapters/a1 --out merged >/dev/null
start merged --max-wait 0 --max-batch 1
equal "a port in use" 1 "$(graft-serve --model model --port "$port" >/dev/null 2>err; echo $?)"
grep -q 'expected an address that is free' err || fail "a port in use: $(cat err)"
ask 200 '"adapter":null' POST /predict "{\"texts\": $(texts_json dev.txt)}"
logits_of body >found
close_to expected1 found || fail "the base's own head: not its logits"
ask 200 '"batches":20' GET /health ''
ask 200 '"base":{"task":"classification"' GET /adapters ''
stop

expect 0 "" graft-serve --help
expect 2 "--model is required" graft-serve
expect 2 "expected NAME=DIR" graft-serve --model model --adapter a1
expect 2 "found it again" graft-serve --model model --adapter a1=adapters/a1 --adapter a1=adapters/a2
expect 1 "expected a name of 1 to 100" graft-serve --model model --adapter a/1=adapters/a1
expect 1 "nowhere" graft-serve --model model --adapter a1=nowhere
expect 1 "nowhere" graft-serve --model nowhere
expect 2 "--allow-adapters" graft-serve --model model --allow-adapters nowhere
expect 2 "--max-batch" graft-serve --model model --max-batch 0
finish
