#!/usr/bin/env bash
# The plan of a run's memory beside what the run takes: anonymous memory at its
# peak, above that of a run with next to nothing, whose peak is that of measuring
# the machine's speed (12 MiB, given back). Six small configurations, in
# each of which another kind of memory is the largest.
#   bench/memory_plan.sh     after a release build; about two minutes
# Fails if a plan is off by more than 10 %.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${TIMEPIPE_BIN:-$PWD/build/release/bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

head -c 6400000 /dev/urandom | base64 -w0 >"$work/text"
cat >"$work/run.textproto" <<TXT
model { hidden_size: 64 intermediate_size: 172 num_layers: 2 num_heads: 2 }
data { sequence_length: 64 train: "$work/text" }
optimizer { steps: 2 lr: 1e-3 }
train { chunk_tokens: 64 }
TXT

# peak COMMAND...: KiB of anonymous memory of the process of timepipe that takes
# most, as seen every few milliseconds.
peak() {
  local most=0 pid kib
  "$@" >"$work/out" 2>&1 &
  local started=$!
  while kill -0 "$started" 2>/dev/null; do
    for pid in $started $(pgrep -P "$started" || true); do
      kib=$(awk '/^Name/ { name = $2 } /^RssAnon/ && name ~ /timepipe/ { print $2 }' \
        "/proc/$pid/status" 2>/dev/null || true)
      ((${kib:-0} <= most)) || most=$kib
    done
    sleep 0.003
  done
  wait "$started" || { cat "$work/out" >&2 && exit 1; }
  echo "$most"
}

# planned PART: MiB of the part in the banner, or of the whole.
planned() {
  sed -nE 's/^memory: //p' "$work/out" | awk -v part="$1" '
    { if (part == "") text = $0; else { i = index($0, part " "); text = substr($0, i + length(part) + 1) }
      split(text, word, " "); print word[2] ~ /GiB/ ? word[1] * 1024 : word[1] }'
}

failed=0
printf '%-22s %12s %12s %10s %8s\n' 'largest kind' 'its plan' 'plan' 'taken' 'ratio'
check() {  # check KIND RANKS OVERRIDE...
  local kind=$1 ranks=$2 taken bare
  shift 2
  local start=()
  ((ranks == 1)) || start=(mpirun -n "$ranks" --oversubscribe)
  local run=("${start[@]}" "$bin/timepipe" train "$work/run.textproto")
  bare=$(peak "${run[@]}" model.num_layers=1 model.hidden_size=32 \
    model.intermediate_size=32 data.batch="$ranks" parallel.data="$ranks")
  taken=$(peak "${run[@]}" data.batch="$ranks" parallel.data="$ranks" "$@")
  awk -v kind="$kind" -v own="$(planned "$kind")" -v plan="$(planned "")" \
    -v taken="$(((taken - bare)))" 'BEGIN {
      taken /= 1024
      printf "%-22s %8.1f MiB %8.1f MiB %6.1f MiB %8.3f\n", kind, own, plan, taken, plan / taken
      exit plan / taken < 0.9 || plan / taken > 1.1 }' || failed=1
}

check 'moments and gradient' 1 model.hidden_size=512 model.intermediate_size=2048 \
  model.num_heads=8 model.num_layers=4
check 'gradient sums' 4 model.hidden_size=256 model.intermediate_size=1024 \
  model.num_heads=4 model.num_layers=4
check activations 1 model.hidden_size=128 model.intermediate_size=344 \
  data.sequence_length=8192 train.chunk_tokens=4096
check borders 1 model.hidden_size=256 model.intermediate_size=256 model.num_heads=4 \
  model.layer=mlp data.sequence_length=16384 optimizer.steps=1
check scratch 1 model.vocab_size=32000 model.hidden_size=32 model.num_layers=1 \
  model.intermediate_size=32 data.sequence_length=1024 train.chunk_tokens=1024
check 'ids and operations' 1 model.hidden_size=16 model.intermediate_size=16 \
  model.num_heads=1 model.num_layers=1 data.sequence_length=8388608 \
  train.chunk_tokens=2048 data.batch=2 optimizer.steps=1
exit "$failed"
