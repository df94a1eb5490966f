#!/usr/bin/env bash
# What it brings to run several sequences side by side: trains the 125M
# configuration on sequences of 2,048 tokens, four in a step, with micro-batches
# of 1, 2 and 4, in turn.
#   bench/micro_batch.sh [ROUNDS [WORD...]]    after a release build; default 2
# rounds, some ten minutes each on two cores. WORD: a configuration in place of
# that one, or a field=value.
# A round takes the sizes in order, the next one in the other order. The speed of
# a size is that of its fastest step but the first, over all rounds, its memory
# the peak. Status 1: a size is slower than 1 by more than 3 %.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly rounds=${1:-2}
source bench/common.sh
[[ $rounds =~ ^[1-9][0-9]*$ ]] || fail "$rounds, expected a number of rounds"
unset OMP_WAIT_POLICY GOMP_SPINCOUNT
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
shift || true
config=configs/ttt-125m-linear-mamba.textproto
if [[ ${1:-} == *.textproto ]]; then
  config=$1
  shift
fi

for ((round = 1; round <= rounds; ++round)); do
  echo "round $round of $rounds" >&2
  sizes="1 2 4"
  ((round % 2)) || sizes="4 2 1"
  for size in $sizes; do
    train "$now" 1 "$config" data.sequence_length=2048 data.batch=4 \
      train.chunk_tokens=2048 optimizer.steps=2 optimizer.warmup_steps=1 \
      data.micro_batch="$size" "$@"
    sed -nE '2,$s/.*"tokens_per_second":([^,]*).*"peak_rss_bytes":([^,]*).*/\1 \2/p' \
      "$work/run/metrics.jsonl" >>"$work/$size"
  done
done

echo "$(basename "$config") on $OMP_NUM_THREADS threads, 4 sequences of 2048 tokens a step"
echo 'micro-batch   tokens/s   of that of 1   peak MiB'
for size in 1 2 4; do
  awk -v size="$size" '{ fast = $1 > fast ? $1 : fast; most = $2 > most ? $2 : most }
    END { print size, fast, most / 1048576 }' "$work/$size"
done | awk 'NR == 1 { one = $2 }
  { printf "%11d %10.1f %14.3f %10.1f\n", $1, $2, $2 / one, $3
    slow += $2 < 0.97 * one } END { exit slow > 0 }'
