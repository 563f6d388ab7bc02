#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# graft-finetune in several processes: the results of one up to rounding, one set of files, and after a
# process was lost the same end as without.
. "$(dirname "$0")/support.sh"
: "${MPIRUN:?}"
# More processes than cores, as root, too.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
# result FILE KEY: a number of the results as a whole.
result() { sed -n "s/^  \"$2\": \([-+0-9.e]*\),\{0,1\}$/\1/p" "$1"; }
together() { local n=$1; shift; "$MPIRUN" -n "$n" graft-finetune "$@"; }

# The processes of a run that writes to this folder, the newest last.
running() {
  local process words
  for process in /proc/[0-9]*; do
    mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
    case "${words[*]:-}" in
      graft-finetune*"--out $1 "*) echo "${process#/proc/}" ;;
    esac
  done | sort -n
}

tiny_model model
texts 2 61 train >train.tsv
texts 3 41 dev >dev.tsv
data=(--model model --train train.tsv --dev dev.tsv --test dev.tsv --batch 8 --epochs 3 --dropout 0.1)
stages=(--strategy head:1,lora:2)

expect 0 "" graft-finetune "${data[@]}" "${stages[@]}" --out one --json one.json --quiet
for n in 2 3; do
  expect 0 "lora, epoch 2" together $n "${data[@]}" "${stages[@]}" --out "many$n" --json "many$n.json" \
    --log "many$n.log" --save-every 3
  equal "$n processes: words of one" 1 "$(grep -c 'lora, epoch 2' err)"
  for key in dev_loss test_loss; do
    holds "$n processes: $key" "(($(result many$n.json $key)) / ($(result one.json $key)) - 1) ^ 2 < 1e-8"
  done
  for key in dev_accuracy steps trainable_parameters; do
    equal "$n processes: $key" "$(result one.json $key)" "$(result "many$n.json" $key)"
  done
  equal "$n processes: lines of the log" "$(result one.json steps)" "$(grep -c '"loss"' "many$n.log")"
done

# A process is lost: all end, with an error; what was written last leads to the same end, bit for bit.
long=("${data[@]}" --strategy head:1,lora:40 --save-every 3)
expect 0 "" together 2 "${long[@]}" --out whole --log whole.log --quiet
together 2 "${long[@]}" --out lost --log lost.log --quiet 2>lost.err >/dev/null &
job=$!
until [ -e lost/stages/1/stage.json ] && compgen -G 'lost/snapshots/2/step-*.safetensors' >/dev/null; do
  kill -0 $job 2>/dev/null || break
  sleep 0.01
done
lost=$(running lost | tail -1)
kill -KILL "${lost:-none}" || fail "it ended before its time"
code=0
wait $job || code=$?
holds "the job's exit code" "$code > 0"
[ ! -e lost/graft_adapter.json ] || fail "a lost run wrote its result"
[ -z "$(running lost)" ] || fail "a process goes on alone"
expect 0 "" together 2 "${long[@]}" --out lost --log lost.log --quiet --resume
cmp lost/graft_adapter.safetensors whole/graft_adapter.safetensors || fail "resumed, it differs"
cmp lost.log whole.log || fail "resumed, the log differs"
expect 1 "processes" together 3 "${long[@]}" --out lost --resume

# What one finds wrong ends all.
expect 1 "nowhere" together 2 "${data[@]:2}" --model nowhere --strategy head --out nothing
expect 2 "--strategy" together 2 "${data[@]}" --strategy none --out nothing
mkdir -p locked/graft_adapter.json
expect 1 "expected a place for a file" together 2 "${data[@]}" --strategy head --out locked
finish
