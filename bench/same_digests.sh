#!/usr/bin/env bash
# Whether another commit trains to the same bits: builds it beside this one and
# compares the digests of 20 steps of both on 8 layouts, over both inner models,
# documents, carried states and both types.
#   bench/same_digests.sh COMMIT    after a release build
# Prints a line for each layout with the last digests, and where they part.
# Status 0: all are equal; 1: some aren't; 2: something didn't run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
commit=$(git rev-parse --verify --quiet "${1:-}^{commit}") || {
  echo "same_digests.sh: ${1:-nothing}, expected a commit" >&2
  exit 2
}
readonly steps=20
now=${TIMEPIPE:-$PWD/build/release/bin/timepipe}
mkdir -p build
work=$(mktemp -d "$PWD/build/same_digests.XXXXXX")
trap 'git worktree remove --force "$work/before" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() {
  echo "same_digests.sh: $1" >&2
  [ $# -lt 2 ] || tail -n 20 "$2" >&2
  exit 2
}
[ -x "$now" ] || fail "$now: missing, expected a release build"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none
export OMP_WAIT_POLICY=passive # ranks may be more than cores
# So that ccache knows again what it compiled here.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$PWD} CCACHE_NOHASHDIR=1

git worktree add --quiet --detach "$work/before" "$commit"
(cd "$work/before" && cmake --preset release -DTIMEPIPE_BUILD_TESTS=OFF &&
  cmake --build build/release --target timepipe) >"$work/build.log" 2>&1 ||
  fail "$1 doesn't build" "$work/build.log"
before=$work/before/build/release/bin/timepipe

# 200,000 bytes of words in lines of different lengths: the minimal standard
# generator, exact in awk's numbers.
awk 'BEGIN {
  x = 7
  while (bytes < 200000) {
    words = next_number() % 40 + 1
    for (w = 0; w < words; ++w) {
      letters = next_number() % 7 + 1
      for (l = 0; l < letters; ++l) {
        printf "%c", 97 + next_number() % 13 + next_number() % 14
      }
      printf w + 1 < words ? " " : "\n"
      bytes += letters + 1
    }
  }
}
function next_number() { return x = x * 16807 % 2147483647 }' >"$work/text.txt"
cat >"$work/run.textproto" <<END
model {
  hidden_size: 64 intermediate_size: 172 num_layers: 2 num_heads: 4
  initializer_range: 0.1
}
data { train: "$work/text.txt" sequence_length: 1000 batch: 2 }
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
linear mamba, f64|2 2 1 1|$mamba train.dtype=f64
mlp transformer|1 1 2 8|$mlp
mlp mamba, detached|2 1 1 1|$mlp $mamba train.detach_every_chunks=3
linear mamba, documents|1 2 1 9|$mamba $documents data.loss=jax
linear mamba, carried|3 1 1 1|$mamba $documents $carried"

# digests PROGRAM TIME DATA THREADS HOT [OVERRIDE...]: one a line.
digests() {
  local program=$1 time=$2 data=$3 threads=$4 hot=$5 start=()
  shift 5
  rm -rf "$work/run"
  [ $((time * data)) = 1 ] || start=(mpirun -n $((time * data)))
  OMP_NUM_THREADS=$threads "${start[@]}" "$program" train \
    "$work/run.textproto" "$@" parallel.time="$time" parallel.data="$data" \
    train.hot_rounds="$hot" run_dir="$work/run" >"$work/log" 2>&1 ||
    fail "$program didn't train" "$work/log"
  grep -o '"digest":"[0-9a-f]*"' "$work/run/metrics.jsonl" | cut -d'"' -f4
}

printf '%-26s %4s %4s %7s %4s  %-16s  %-16s  %s\n' \
  layout time data threads hot before now equal
different=0
while IFS='|' read -r name layout overrides; do
  # shellcheck disable=SC2086 # words
  digests "$before" $layout $overrides >"$work/then" </dev/null
  # shellcheck disable=SC2086
  digests "$now" $layout $overrides >"$work/now" </dev/null
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
