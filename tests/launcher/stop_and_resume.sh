#!/usr/bin/env bash
# stop_and_resume.sh TIMEPIPE MPIEXEC: runs that are asked to end by a signal.
# They save, leave with 128 + the signal, and end with the bits of the run that
# nobody disturbed, resumed on one layout after the other. A second signal, or
# one to a run without a folder, ends at once.
source "$(dirname "$0")/common.sh"
timepipe=$1 mpiexec=$2

head -c 825000 "$timepipe" | base64 -w0 >text
small=(model.hidden_size=64 model.intermediate_size=96 data.train=text)
run=(train "$configs/demo.textproto" "${small[@]}" data.sequence_length=16384
  train.chunk_tokens=1024 optimizer.steps=12)
# A step of minutes: only a signal ends it in time.
endless=(train "$configs/demo.textproto" "${small[@]}"
  data.sequence_length=1000000 train.chunk_tokens=1024)

start() { # start COMMAND...: in the background, its output in `out`
  : >out  # what the last one said is not of this one
  "$@" >>out 2>&1 &
  job=$!
}
await() { # await PATTERN: until a line of the output matches
  until grep -qE -- "$1" out; do
    kill -0 "$job" 2>/dev/null || grep -qE -- "$1" out ||
      fail "ended before: $1" out
    read -rt 0.01 <> <(:) || true
  done
}
ends_with() { # ends_with STATUS
  local status=0
  wait "$job" || status=$?
  job=
  [ "$status" -eq "$1" ] || fail "status $status, expected $1" out
}
told() { # told SIGNAL: what was saved
  grep -qE "^$1: saved after step [0-9]+ of 12 in [A-Za-z0-9]+/checkpoints/step-" \
    out || fail "not told what was saved" out
}
rank() { pgrep -P "$job" -f train | sed -n "$(($1 + 1))p"; } # its process

"$timepipe" "${run[@]}" run_dir=whole >out || fail "undisturbed run" out

start "$timepipe" "${run[@]}" run_dir=stopped checkpoint.every=2
await '^step 2/'
kill -INT "$job"
await '^rank 0: SIGINT while .*: saves at the end of this step and leaves'
ends_with 130
told SIGINT
echo "ok: one process, SIGINT: $(grep '^SIGINT' out)"

start "$mpiexec" -n 2 "$timepipe" "${run[@]}" run_dir=stopped parallel.time=2
await '^resumed after step'
await '^step '
kill -USR1 "$job"  # mpirun forwards it to every rank
await '^rank 1: SIGUSR1 while '
ends_with 138
told SIGUSR1
echo "ok: two ranks, SIGUSR1 to mpirun: $(grep '^SIGUSR1' out)"

start "$mpiexec" -n 2 "$timepipe" "${run[@]}" run_dir=stopped parallel.time=2
await '^step '
kill -TERM "$(rank 1)"
await '^rank [01]: SIGTERM while '
ends_with 143
told SIGTERM
[ "$(grep -c '^rank [01]: ' out)" -eq 1 ] || fail "more than one was asked" out
echo "ok: two ranks, SIGTERM to one: $(grep '^SIGTERM' out)"

"$timepipe" "${run[@]}" run_dir=stopped >out 2>&1 || fail "the rest" out
"$timepipe" checkpoint diff whole stopped || fail "other bits after signals"
cmp <(grep -o '"digest":"[0-9a-f]*"' whole/metrics.jsonl) \
  <(grep -o '"digest":"[0-9a-f]*"' stopped/metrics.jsonl) || fail "digests of the steps"
for r in 0 1; do
  grep -q "rank $r of 2, host .*, pid " stopped/logs/rank-0000$r.log ||
    fail "no log of rank $r"
  grep -q 'SIGTERM: saved after step' stopped/logs/rank-0000$r.log ||
    fail "the log doesn't know of the end" stopped/logs/rank-0000$r.log
done
echo "ok: resumed, same bits"

# A closed terminal and the warnings of batch systems; nohup has SIGHUP ignored.
for name in HUP USR2 XCPU; do
  start env --default-signal="$name" "$timepipe" "${run[@]}" run_dir="by$name"
  await '^step 1/'
  kill -s "$name" "$job"
  await "^rank 0: SIG$name while .*: saves at the end of this step and leaves"
  ends_with $((128 + $(kill -l "$name")))
  told "SIG$name"
done
start nohup "$timepipe" "${run[@]}" run_dir=nohup
await '^step 1/'
kill -HUP "$job"
kill -TERM "$job"
ends_with 143
told SIGTERM
grep -q SIGHUP out && fail "an ignored signal was answered" out
echo "ok: SIGHUP, SIGUSR2, SIGXCPU; an ignored one is none"

# Twice: at once, and what was saved before is still there.
start "$timepipe" "${endless[@]}" run_dir=endless
await '^peak:'
"$timepipe" "${endless[@]}" run_dir=endless >second 2>&1 &&
  fail "two runs in one folder" second
grep -q "in use by another run (host .*, pid $job, .*), expected" second ||
  fail "not told who uses the folder" second
kill -TERM "$job"
await '^rank 0: SIGTERM while .*: saves at the end'
kill -INT "$job"
ends_with 130
grep -q 'SIGINT while .*: the second: leaves at once' out || fail "second" out
[ -z "$(ls endless/checkpoints)" ] || fail "something was saved"
start "$mpiexec" -n 2 "$timepipe" "${endless[@]}" run_dir=endless \
  parallel.time=2
await '^peak:'
rank0=$(rank 0)
kill -USR1 "$rank0"
await '^rank [01]: SIGUSR1 while .*: saves at the end'
kill -USR1 "$rank0"  # the same request: a batch system and mpirun send it
kill -0 "$rank0" || fail "SIGUSR1 twice ended it" out
kill -USR2 "$rank0"
ends_with 140
grep -q 'SIGUSR1 while .*: the second' out && fail "a repetition" out
grep -q 'SIGUSR2 while .*: the second: leaves at once' out || fail "second" out
start "$timepipe" "${endless[@]}"
await '^peak:'
kill -TERM "$job"
ends_with 143
grep -q '^rank 0: SIGTERM while .*nothing is saved without run_dir$' out ||
  fail "nothing was said about saving" out
echo "ok: a second signal, or no folder: at once"
