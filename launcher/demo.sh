#!/usr/bin/env bash
# The demonstration, from a bare Debian machine to a trained model: one long
# sequence of the King James Bible, shared by two time ranks.
# Further arguments are overrides: launcher/demo.sh optimizer.steps=100
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n>> %s\n' "$*"; }

readonly ranks=2 text=build/demo/bible.txt
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS=$((($(nproc) + ranks - 1) / ranks))
export OMP_WAIT_POLICY=passive

say "Installing what is missing"
launcher/setup.sh

say "Building timepipe (the first time takes minutes)"
cmake --preset release >/dev/null
cmake --build --preset release --target timepipe

if [[ ! -s $text ]]; then
  say "Writing $text"
  mkdir -p build/demo
  bible -f gen1:1-rev22:21 >"$text.part"
  mv "$text.part" "$text"
fi

say "Training a TTT-Linear model on $text, $(wc -c <"$text") bytes = tokens." \
  "Each of the $ranks ranks computes every second chunk of a sequence; what" \
  "goes from rank to rank is the hidden state, and its gradient back."
mpirun -n "$ranks" --oversubscribe --bind-to none \
  build/release/bin/timepipe train configs/demo.textproto \
  data.train="$text" parallel.time="$ranks" "$@"

say "Done. One process gives the same numbers, bit by bit:"
echo "   build/release/bin/timepipe train configs/demo.textproto data.train=$text${*:+ $*}"
