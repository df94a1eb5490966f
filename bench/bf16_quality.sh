#!/usr/bin/env bash
# What bf16 changes in what a model learns: trains the demo's model from two
# seeds in f32 and from the first of them in bf16, and compares bits per byte of
# the held-out text.
#   bench/bf16_quality.sh [field=value...]    after a release build; some twenty
# minutes on two cores. Needs the demo's text, which launcher/demo.sh makes.
# Status 1: bf16 is as far from f32 as another seed is, or farther.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source bench/common.sh
text=$PWD/build/demo/bible.txt
[ -s "$text" ] || fail "$text: missing, expected the text of launcher/demo.sh"

bits_per_byte() { # bits_per_byte DTYPE SEED [field=value...]
  local run=$work/$1-$2
  "$now" train configs/demo.textproto data.train="$text" run_dir="$run" \
    train.dtype="$1" train.seed="$2" "${@:3}" >"$work/log" 2>&1 </dev/null ||
    fail "$1, seed $2: didn't train" "$work/log"
  "$now" eval "$run" --data "$text" --held-out --json "$work/eval.json" \
    >"$work/log" 2>&1 || fail "$1, seed $2: no evaluation" "$work/log"
  grep -o '"bits_per_byte": *[0-9.]*' "$work/eval.json" | grep -o '[0-9.]*$' ||
    fail "$1, seed $2: no bits per byte" "$work/eval.json"
}

f32=$(bits_per_byte f32 0 "$@")
echo "f32,  seed 0: $f32 bits per byte"
other=$(bits_per_byte f32 1 "$@")
echo "f32,  seed 1: $other"
bf16=$(bits_per_byte bf16 0 "$@")
echo "bf16, seed 0: $bf16"
awk -v f32="$f32" -v other="$other" -v bf16="$bf16" 'BEGIN {
  by_type = bf16 - f32; by_seed = other - f32
  if (by_seed < 0) by_seed = -by_seed
  printf "bf16 - f32: %+.5f; of two seeds: %.5f\n", by_type, by_seed
  exit !(by_type < by_seed && -by_type < by_seed) }'
