#!/usr/bin/env bash
# What the number of threads that ranks take by themselves costs: a training run
# and golden_check under mpirun, without OMP_NUM_THREADS and with
# OMP_NUM_THREADS=1, in turn, the best of some rounds each.
#   bench/threads.sh [ROUNDS]     after a release build; default 3 rounds
# Fails if one takes more than 1.5 times as long without. mpirun -n 1 uses all
# cores or its banner says why not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1:-3}
bin=${TIMEPIPE_BIN:-$PWD/build/release/bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unset OMP_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
head -c 30000 "$bin/timepipe" | base64 -w0 >"$work/text"
train=("$bin/timepipe" train configs/demo.textproto data.train="$work/text"
  data.sequence_length=16384 train.chunk_tokens=1024 optimizer.steps=6)
golden=("$bin/golden_check" tests/golden/model_mlp_mamba_rem --chunk 16)

seconds() { # seconds FILE COMMAND...: keeps the shorter of its time and FILE's
  local file=$1 began=$EPOCHREALTIME
  shift
  "$@" >"$work/out" 2>&1 || { cat "$work/out" && exit 1; }
  echo "$began $EPOCHREALTIME" | awk '{ print $2 - $1 }' >>"$file.all"
  sort -g "$file.all" | head -n 1 >"$file"
}

failed=0
compare() { # compare NAME COMMAND...
  local name=$1 round
  shift
  rm -f "$work"/*.all
  for ((round = 1; round <= rounds; ++round)); do
    seconds "$work/default" "$@"
    sed -nE 's/^(threads|warning): /  &/p; s/^golden_check: (threads)/  \1/p' \
      "$work/out" >"$work/said"
    seconds "$work/one" env OMP_NUM_THREADS=1 "$@"
  done
  paste "$work/default" "$work/one" | awk -v name="$name" '{
    printf "%-32s %7.2f s by default, %7.2f s with one thread: %.2f times\n",
      name, $1, $2, $1 / $2
    exit $1 > 1.5 * $2 }' || failed=1
  cat "$work/said"
}

for ranks in 1 2 4 7; do
  mpirun=(mpirun --oversubscribe -n "$ranks")
  compare "train, mpirun -n $ranks" \
    "${mpirun[@]}" "${train[@]}" parallel.time="$ranks"
  compare "golden_check, mpirun -n $ranks" "${mpirun[@]}" "${golden[@]}"
done
compare "train, mpirun -n 1, not bound" \
  mpirun --bind-to none -n 1 "${train[@]}"
((failed == 0)) || echo "bench/threads.sh: more than 1.5 times" >&2
exit "$failed"
