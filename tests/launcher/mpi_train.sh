#!/usr/bin/env bash
# mpi_train.sh TIMEPIPE TRAIN_DIGESTS MPIEXEC: training under mpirun. The same
# digests for every layout; one line and the right exit status for a user's
# mistake; the end of all ranks when one is killed, each saying what it was
# waiting for.
source "$(dirname "$0")/common.sh"
timepipe=$1 digests=$2 mpiexec=$3

for scenario in linear_mamba mlp_transformer carried carried_side_by_side \
  in_bf16; do
  "$digests" $scenario 1 1 1 >alone
  lines=$(wc -l <alone)
  [ "$lines" -ge 12 ] && [ "$(sort -u alone | wc -l)" -ge $((lines - 2)) ] ||
    fail "digests of $scenario repeat" alone
  for layout in "2 1 0" "3 1 1" "4 1 9" "2 2 1" "1 2 1"; do
    read -r time data hot <<<"$layout"
    "$mpiexec" -n $((time * data)) "$digests" $scenario $layout >ranks
    cmp alone ranks ||
      fail "$scenario on time x data x hot = $layout has other bits"
  done
  echo "ok: $scenario, 5 layouts, same digests"
done

# A text long enough for one sequence.
head -c 15000 "$(command -v bash)" | base64 -w0 >text
tiny=("$configs/demo.textproto" data.train=text
  data.sequence_length=16384 train.chunk_tokens=1024 optimizer.steps=1000)

digest_column() { grep -oE 'digest [0-9a-f]{16}' "$1"; }
"$timepipe" train "${tiny[@]}" optimizer.steps=5 >alone
"$mpiexec" -n 3 "$timepipe" train "${tiny[@]}" optimizer.steps=5 \
  parallel.time=3 >ranks
[ "$(digest_column alone | sort -u | wc -l)" -ge 4 ] ||
  fail "timepipe train prints no digests" alone
cmp <(digest_column alone) <(digest_column ranks) ||
  fail "timepipe train has other bits on 3 ranks" ranks
[ "$(grep -cE '^ +[0-2] +0\.[0-9]+ MiB +[0-9.]+ MiB +[0-2], [3-5], ' \
  ranks)" -eq 3 ] || fail "no line for every rank" ranks
echo "ok: timepipe train, 1 and 3 ranks, same digests"
# The transport of InfiniBand, on any machine.
"$mpiexec" -n 2 --mca pml ucx --mca pml_ucx_tls any --mca pml_ucx_devices any \
  "$timepipe" train "${tiny[@]}" optimizer.steps=5 parallel.time=2 \
  >ranks || fail "no training over UCX" ranks
cmp <(digest_column alone) <(digest_column ranks) ||
  fail "timepipe train has other bits over UCX" ranks
echo "ok: timepipe train, 2 ranks over UCX, same digests"

# Held-out text, before the first rate that isn't 0: the same loss however many
# sequences a step and its evaluation take, also more than a run has room for.
held=("$configs/demo.textproto" data.train=text data.held_out=0.5
  data.sequence_length=32 train.chunk_tokens=16 model.hidden_size=32
  model.intermediate_size=48 eval.every=1 eval.sequences=11 optimizer.steps=5)
held_out() { grep -m 1 'step 1: held-out loss' "$1"; }
"$timepipe" train "${held[@]}" >one
"$timepipe" train "${held[@]}" data.batch=4 >four
"$mpiexec" -n 4 "$timepipe" train "${held[@]}" data.batch=3 parallel.time=2 \
  parallel.data=2 >ranks
for run in four ranks; do
  [ "$(held_out one)" = "$(held_out $run)" ] ||
    fail "$run: other held-out loss than $(held_out one)" "$run"
done
# A batch script of Slurm, or a shell of salloc, isn't one of the tasks.
script=(env SLURM_JOB_ID=5 SLURM_NTASKS=4 SLURM_PROCID=0 "$timepipe" train
  "${held[@]}")
"${script[@]}" >alone 2>&1 || fail "not in a batch script" alone
[ "$(held_out one)" = "$(held_out alone)" ] || fail "script: other loss" alone
mistake "2 x 1 = 2 ranks, but this job has 1," "${script[@]}" parallel.time=2
head -c 290000 /dev/zero | tr '\0' x >long
"$timepipe" train "${held[@]/=text/=long}" data.sequence_length=2 \
  data.batch=500 eval.sequences=70000 optimizer.steps=1 \
  optimizer.warmup_steps=0 model.num_layers=1 >many ||
  fail "many held-out sequences" many
echo "ok: held-out loss, $(held_out one)"

"$mpiexec" -n 2 "$timepipe" train "${tiny[@]}" parallel.time=3 \
  >out 2>&1 && fail "2 ranks ran a layout of 3"
grep -q '^timepipe: parallel.time x parallel.data: 3 x 1 = 3 ranks, but this '\
'job has 2, expected parallel.time=2 or mpirun -n 3$' \
  out || fail "no line about the layout" out
[ "$(grep -c '^timepipe:' out)" -eq 1 ] || fail "more than one line" out
refused "none: No such file" "$timepipe" train "${tiny[@]/=text/=none}"
echo "ok: mistakes end with one line"

"$mpiexec" -n 3 "$timepipe" train "${tiny[@]}" parallel.time=3 \
  run_dir=run >out 2>&1 &
job=$!
until grep -q '^step 1/' out; do
  kill -0 $job 2>/dev/null || fail "training ended early" out
  read -rt 0.1 <> <(:) || true
done
victim=$(pgrep -P $job -f train | tail -n 1)
kill -KILL "$victim"
wait $job && fail "a killed rank went unnoticed" out
[ "$(grep -c '^rank [0-9]*: SIGTERM while ' out)" -eq 2 ] ||
  fail "not every survivor said what it was doing" out
grep '^rank [0-9]*: SIGTERM while ' out
echo "ok: a killed rank ends all"
