#!/usr/bin/env bash
# Whether steps wait for their schedules: trains a narrow model of 60 layers on
# sequences of 4,096 chunks with documents, so that each step has another
# schedule, and tells from the log how long each step waited for its own.
#   bench/schedules_ahead.sh    after a release build; about six minutes
# Status 0: only the first step, before which there is none, waited for more
# than a hundredth of a second.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
timepipe=${TIMEPIPE:-$PWD/build/release/bin/timepipe}
work=$(mktemp -d)
job=
trap '[ -z "$job" ] || kill "$job" 2>/dev/null; rm -rf "$work"' EXIT
awk 'BEGIN {
  for (x = 7; i < 400000; ++i) {
    x = x * 16807 % 2147483647
    printf "%c", x % 997 == 0 ? 10 : 97 + x % 26
  }
}' >"$work/text"
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$timepipe" train configs/demo.textproto \
  data.train="$work/text" data.documents=reset data.bos_id=10 \
  data.sequence_length=65536 data.batch=1 train.chunk_tokens=16 \
  model.num_layers=60 model.hidden_size=8 model.num_heads=1 \
  model.intermediate_size=8 optimizer.steps=3 optimizer.warmup_steps=1 eval.every=0 \
  run_dir="$work/run" >"$work/out" 2>&1 &
job=$!
# Of so many chunks the sums refuse large addends: no matter here.
wait "$job" || grep -q 'not trained: all 3 steps were skipped' "$work/out" || {
  tail "$work/out"
  exit 2
}
job=
log=$(cat "$work"/run/logs/*)
grep -oE 'step [0-9]+: loss .*' <<<"$log" |
  awk '{
    waited = $(NF - 1)
    printf "%s %s waited for its schedule %.4f s\n", $1, $2, waited - before
    late += NR > 1 && waited - before > 0.01
    before = waited
  } END { exit NR != 3 || late }'
