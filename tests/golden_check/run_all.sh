#!/usr/bin/env bash
# run_all.sh GOLDEN_CHECK one|ranks RANKS [MPIEXEC]
#   one:   every folder, in both precisions, whole
#          and in chunks of 16, 32 and 48, in one process
#   ranks: every module, model, opt and hf folder on RANKS ranks, in both precisions
# Folders: tests/golden, and all of the design's goldens where they are at hand.
set -euo pipefail
check=$1 mode=$2 ranks=$3 mpiexec=${4:-mpirun}
tests=$(cd "$(dirname "$0")/.." && pwd)
roots=("$tests/golden")
[ -d "$tests/../../shared/goldens" ] && roots+=("$tests/../../shared/goldens")

folders=()
for root in "${roots[@]}"; do
  for folder in "$root"/{layer,module,model,gen,opt,hf}_*; do
    [ -d "$folder" ] || continue
    [ "$mode" = ranks ] && [[ $(basename "$folder") =~ ^(layer|gen)_ ]] && continue
    folders+=("$folder")
  done
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
  echo "golden_check ${#folders[@]} folders: $*"
  if ! "$@" "${folders[@]}" >"$log" 2>&1; then
    grep -E 'FAIL|timepipe' "$log" || tail -n 20 "$log"
    exit 1
  fi
  [ "$(grep -c ': ok worst=' "$log")" -eq "${#folders[@]}" ]
}
for dtype in f64 f32; do
  if [ "$mode" = one ]; then
    for chunk in 0 16 32 48; do
      run "$check" --dtype "$dtype" --chunk "$chunk"
    done
  else
    run "$mpiexec" -n "$ranks" "$check" --dtype "$dtype" --chunk 16
    run "$mpiexec" -n "$ranks" "$check" --dtype "$dtype" --chunk 32 \
      --hot-rounds 0
  fi
done
