#!/usr/bin/env bash
# Whether this commit trains as fast as another one and takes no more memory:
# builds that beside this one and runs both in turn.
#   bench/same_speed.sh COMMIT [ROUNDS [CASES]]    after a release build; default
# 5 rounds of all cases, about ten minutes on two cores. CASES: a pattern (grep
# -E) of the names of those to run.
# A round runs both one after the other, in the next one in the other order. A
# run's speed is that of its fastest step but the first, its memory the peak of
# rank 0 while it trains. A ratio is now / before, the median of those of the
# rounds; beside it the lowest and the highest. Other load shows there: then
# more rounds tell more.
# Status 0: no case has less than 0.97 of the speed or more than 1.01 times the
# memory; 1: one has; 2: something didn't run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly rounds=${2:-5} pattern=${3:-.}
source bench/common.sh
[[ $rounds =~ ^[1-9][0-9]*$ ]] || fail "$rounds, expected a number of rounds"
unset OMP_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT

cat >"$work/tiny.textproto" <<'END'
model { hidden_size: 256 intermediate_size: 688 num_layers: 4 num_heads: 4 }
data { sequence_length: 512 }
optimizer { steps: 8 lr: 1e-3 }
train { chunk_tokens: 128 }
END
mamba="model.use_gate=true model.share_qk=true model.pre_conv=true"
short="data.batch=1 data.sequence_length=128 train.chunk_tokens=64 optimizer.steps=4 optimizer.warmup_steps=1"

# name | ranks configuration overrides
readonly cases="demo|1 configs/demo.textproto optimizer.steps=5
demo, 2 ranks|2 configs/demo.textproto optimizer.steps=5 parallel.time=2
tiny linear|1 $work/tiny.textproto $mamba
tiny mlp|1 $work/tiny.textproto model.layer=mlp model.ttt_base_lr=0.1
125M linear|1 configs/ttt-125m-linear-mamba.textproto $short
125M mlp|1 configs/ttt-125m-mlp-transformer.textproto $short"
chosen=$(cut -d'|' -f1 <<<"$cases" | grep -E -- "$pattern") ||
  fail "$pattern: no case has such a name"

measure() { # measure NAME WHICH WORD...: adds tokens/s and bytes to NAME.WHICH
  local name=$1 which=$2
  shift 2
  train "${!which}" "$@"
  sed -nE '2,$s/.*"tokens_per_second":([^,]*).*"peak_rss_bytes":([^,]*).*/\1 \2/p' \
    "$work/run/metrics.jsonl" | sort -g |
    awk '{ most = $2 > most ? $2 : most } END { print $1, most }' >>"$work/$name.$which"
}

build_before "${1:-}"
for ((round = 1; round <= rounds; ++round)); do
  echo "round $round of $rounds" >&2
  order="before now"
  ((round % 2)) || order="now before"
  while IFS='|' read -r name words; do
    grep -Fqx -- "$name" <<<"$chosen" || continue
    for which in $order; do
      # shellcheck disable=SC2086 # words
      measure "$name" "$which" $words
    done
  done <<<"$cases"
done

median() { sort -g | awk '{ x[NR] = $1 } END {
  print (x[int((NR + 1) / 2)] + x[int((NR + 2) / 2)]) / 2 }'; }

# compared FILE COLUMN: medians before and now, median, lowest and highest ratio.
compared() {
  local ratios
  ratios=$(paste "$work/$1.before" "$work/$1.now" -d' ' |
    awk -v i="$2" '{ print $(i + 2) / $i }' | sort -g)
  echo "$(cut -d' ' -f"$2" "$work/$1.before" | median)" \
    "$(cut -d' ' -f"$2" "$work/$1.now" | median)" \
    "$(median <<<"$ratios")" "$(head -n 1 <<<"$ratios")" "$(tail -n 1 <<<"$ratios")"
}

printf '%-14s %10s %10s %6s %13s  %9s %9s %6s\n' case 'tokens/s' now ratio \
  'low to high' 'peak MiB' now ratio
worse=0
while read -r name; do
  echo "$(compared "$name" 1) $(compared "$name" 2)" | awk -v name="$name" '{
    bad = $3 < 0.97 || $8 > 1.01
    printf "%-14s %10.1f %10.1f %6.3f %5.3f to %5.3f  %9.1f %9.1f %6.3f%s\n", name,
      $1, $2, $3, $4, $5, $6 / 1048576, $7 / 1048576, $8, bad ? "  worse" : ""
    exit bad }' || worse=1
done <<<"$chosen"
exit "$worse"
