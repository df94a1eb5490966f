#!/usr/bin/env bash
# Whether another commit trains to the same bits: builds it beside this one and
# compares the digests of 20 steps of both on 8 layouts, over both inner models,
# both types, documents, carried states, and 0, 1, 2, 3 and all hot rounds.
#   bench/same_digests.sh COMMIT    after a release build
# Prints a line for each layout with the last digests, and where they part.
# Status 0: all are equal; 1: some aren't; 2: something didn't run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly steps=20
source bench/common.sh
# Ranks may be more than cores.
export OMPI_MCA_mpi_yield_when_idle=1 OMP_WAIT_POLICY=passive

cat >"$work/run.textproto" <<END
model {
  hidden_size: 64 intermediate_size: 172 num_layers: 2 num_heads: 4
  initializer_range: 0.1
}
data { sequence_length: 1000 batch: 2 }
optimizer { steps: $steps lr: 3e-3 warmup_steps: 2 }
train { chunk_tokens: 128 }
END
mamba="model.use_gate=true model.share_qk=true model.pre_conv=true"
mlp="model.layer=mlp model.ttt_base_lr=0.1 optimizer.inner_lr_warmup_steps=9 optimizer.inner_lr_init=0.01"
documents="data.documents=reset data.bos_id=10"
carried="data.carry_state=true data.sequence_length=1024"

# name | time data threads hot rounds | overrides
readonly layouts="linear transformer|1 1 1 1|
linear mamba|2 1 1 0|$mamba
linear mamba|3 1 2 2|$mamba model.tie_word_embeddings=false
linear mamba, f64|2 2 1 3|$mamba train.dtype=f64
mlp transformer|1 1 2 all|$mlp
mlp mamba, detached, f64|2 1 1 0|$mlp $mamba train.detach_every_chunks=3 train.dtype=f64
linear mamba, documents|1 2 1 all|$mamba $documents data.loss=jax
mlp mamba, carried|3 1 1 1|$mlp $mamba $documents $carried"
readonly chunks=8 # of a sequence, all of them hot rounds of its rank at most

# digests PROGRAM TIME DATA THREADS HOT [OVERRIDE...]: one a line.
digests() {
  local program=$1 time=$2 data=$3 threads=$4 hot=${5/all/$chunks}
  shift 5
  OMP_NUM_THREADS=$threads train "$program" $((time * data)) \
    "$work/run.textproto" "$@" parallel.time="$time" parallel.data="$data" \
    train.hot_rounds="$hot"
  grep -o '"digest":"[0-9a-f]*"' "$work/run/metrics.jsonl" | cut -d'"' -f4
}

build_before "${1:-}"
printf '%-26s %4s %4s %7s %4s  %-16s  %-16s  %s\n' \
  layout time data threads hot before now equal
different=0
while IFS='|' read -r name layout overrides; do
  # shellcheck disable=SC2086 # words
  digests "$before" $layout $overrides >"$work/then"
  # shellcheck disable=SC2086
  digests "$now" $layout $overrides >"$work/now"
  [ "$(sort -u "$work/then" | wc -l)" -eq $steps ] ||
    fail "$name: not $steps digests, each another" "$work/then"
  equal=yes
  cmp -s "$work/then" "$work/now" || {
    different=$((different + 1))
    equal="no, from step $({ cmp "$work/then" "$work/now" || true; } 2>&1 |
      sed 's/.*line //')"
  }
  read -r time data threads hot <<<"$layout"
  printf '%-26s %4s %4s %7s %4s  %-16s  %-16s  %s\n' "$name" "$time" "$data" \
    "$threads" "$hot" "$(tail -n 1 "$work/then")" "$(tail -n 1 "$work/now")" \
    "$equal"
done <<<"$layouts"
echo "$((8 - different)) of 8 layouts equal, $steps steps each"
exit $((different > 0))
