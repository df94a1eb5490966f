#!/usr/bin/env bash
# What saving in the background costs: the demo's model on sequences of 16,384
# tokens over two ranks, a save in ten steps against none, in turn.
#   bench/checkpoint_cost.sh [ROUNDS [TENS]]   after a release build; default 3
# rounds, each with and without, of 5 times ten steps.
# Step times are those of metrics.jsonl; what is saved after a step counts for
# the next. Ten steps in a row hold one save, so the share compares means of
# ten steps; their quartiles show the machine's noise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1:-3} tens=${2:-5}
timepipe=${TIMEPIPE:-$PWD/build/release/bin/timepipe}
readonly tokens=16384 steps=$((10 * tens + 11)) # the first eleven warm up
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMPI_MCA_mpi_yield_when_idle=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none
head -c 750000 "$timepipe" | base64 -w0 >"$work/text"

train() { # train NAME EVERY: adds its step times to NAME.seconds
  rm -rf "$work/run"
  mpirun -n 2 "$timepipe" train configs/demo.textproto parallel.time=2 \
    data.train="$work/text" data.sequence_length=$tokens \
    train.chunk_tokens=2048 optimizer.steps=$steps checkpoint.every="$2" \
    run_dir="$work/run" >"$work/out" 2>&1 || { cat "$work/out" && exit 1; }
  grep -o '"tokens_per_second":[0-9.e+]*' "$work/run/metrics.jsonl" |
    awk -F: -v tokens=$tokens 'NR > 11 { print tokens / $2 }' >>"$work/$1.seconds"
  tail -n 1 "$work/run/metrics.jsonl" | grep -o '"peak_rss_bytes":[0-9]*' |
    cut -d: -f2 >>"$work/$1.rss"
}

quartiles() { # quartiles: of the numbers on stdin
  sort -g | awk '{ x[NR] = $1 } END {
    print x[int((NR + 3) / 4)], x[int((NR + 1) / 2)], x[int((3 * NR + 3) / 4)] }'
}
mean_of_tens() { awk '{ sum += $1 } NR % 10 == 0 { print sum / 10; sum = 0 }'; }

for ((round = 1; round <= rounds; ++round)); do
  train without 0
  train with 10
  echo "round $round of $rounds: median step $(
    tail -n $((10 * tens)) "$work/without.seconds" | quartiles | cut -d' ' -f2) s without, $(
    tail -n $((10 * tens)) "$work/with.seconds" | quartiles | cut -d' ' -f2) s with saves"
done

for name in without with; do
  read -r low middle high < <(quartiles <"$work/$name.seconds")
  echo "step time $name saves: median $middle s, quartiles $low to $high"
  read -r low "$name" high < <(mean_of_tens <"$work/$name.seconds" | quartiles)
  echo "mean of ten steps $name saves: median ${!name} s, quartiles $low to $high"
done
# Step 10 k + 1 has what was saved after step 10 k.
awk 'NR % 10 == 0' "$work/with.seconds" >"$work/after"
awk 'NR % 10 != 0' "$work/with.seconds" >"$work/others"
read -r _ after _ < <(quartiles <"$work/after")
read -r _ others _ < <(quartiles <"$work/others")
echo "step after a save: median $after s, other steps of these runs $others s"
awk -v a="$with" -v b="$without" -v c="$after" -v d="$others" 'BEGIN {
  printf "saving costs %.1f %% of step time (runs against runs), ", 100 * (a / b - 1)
  printf "%.1f %% (steps after a save against others)\n", 10 * (c / d - 1) }'
read -r _ a _ < <(quartiles <"$work/with.rss")
read -r _ b _ < <(quartiles <"$work/without.rss")
awk -v a="$a" -v b="$b" 'BEGIN {
  printf "peak memory of rank 0: %.1f MiB with, %.1f MiB without saves\n",
    a / 1048576, b / 1048576 }'
sed -nE 's/.*memory: .*(copy to save.*)/planned: \1/p' "$work/run/logs/rank-00000.log"
