#!/usr/bin/env bash
# run_all.sh GOLDEN_CHECK MODE RANKS [MPIEXEC], where MODE is
#   one:   every folder, in both precisions, whole
#          and in chunks of 16, 32 and 48, in one process
#   ranks: every module, model, opt and hf folder on RANKS ranks, in both precisions
#   data:  every model, opt and hf folder on RANKS ranks, two of them data ranks
#   micro, micro_ranks, micro_data: the same folders with 2 or 3 sequences side by
#          side, copies and mixtures of the folder's, in both precisions
# and modules and models in bf16, too.
#   device: layer folders and two of each other kind on a CUDA device, as one
#   device_ranks: of these those of ranks, as ranks, all ranks on their devices
#   all_device, all_device_ranks: all folders
# Folders: tests/golden, and all of the design's goldens where they are at hand.
set -euo pipefail
check=$1 mode=$2 ranks=$3 mpiexec=${4:-mpirun}
tests=$(cd "$(dirname "$0")/.." && pwd)
roots=("$tests/golden")
[ -d "$tests/../../shared/goldens" ] && roots+=("$tests/../../shared/goldens")

folders=()
few=' gen_linear_mamba gen_linear_tf_p5 hf_linear_tied_f32
  hf_mlp_mamba_untied_bf16_sharded model_linear_tf_rem model_mlp_mamba_rem
  module_linear_tf module_mlp_mamba opt_linear_tf opt_mlp_innerwarm '
chunks=(0 16 32 48) on=()
[[ $mode == *device* ]] && chunks=(0 16 48) on=(--device cuda)
declare -A chosen
for root in "${roots[@]}"; do
  for folder in "$root"/{layer,module,model,gen,opt,hf}_*; do
    [ -d "$folder" ] || continue
    name=$(basename "$folder")
    if [[ $mode == device* ]]; then
      [[ $name == layer_* || $few =~ [[:space:]]$name[[:space:]] ]] || continue
      [[ -z ${chosen[$name]-} ]] || continue
      chosen[$name]=1
    fi
    case $mode:$name in
      *ranks:layer_* | *ranks:gen_*) continue ;;
      *data:layer_* | *data:gen_* | *data:module_*) continue ;;
    esac
    folders+=("$folder")
  done
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
  echo "golden_check ${#folders[@]} folders: $*"
  if ! "$@" "${on[@]}" "${folders[@]}" >"$log" 2>&1; then
    grep -E 'FAIL|timepipe' "$log" || tail -n 20 "$log"
    exit 1
  fi
  [ "$(grep -c ': ok worst=' "$log")" -eq "${#folders[@]}" ]
}
on_ranks() { run "$mpiexec" -n "$ranks" "$check" "$@"; }
case $mode in
  *device) form=one ;;
  *device_ranks) form=ranks ;;
  *) form=$mode ;;
esac
for dtype in f64 f32; do
  in_16=(--dtype "$dtype" --chunk 16)
  case $form in
    one)
      for chunk in "${chunks[@]}"; do
        run "$check" --dtype "$dtype" --chunk "$chunk"
      done ;;
    ranks)
      on_ranks "${in_16[@]}"
      on_ranks --dtype "$dtype" --chunk 32 --hot-rounds 0 ;;
    data) on_ranks "${in_16[@]}" --data-ranks 2 ;;
    micro) run "$check" "${in_16[@]}" --micro-batch 3 ;;
    micro_ranks) on_ranks "${in_16[@]}" --micro-batch 2 --hot-rounds 0 ;;
    micro_data) on_ranks "${in_16[@]}" --micro-batch 2 --data-ranks 2 ;;
    *)
      echo "run_all.sh: no mode $mode" >&2
      exit 2 ;;
  esac
done

# The kinds that a reference that rounds to bf16 where we do has errors of.
bf16=(--dtype bf16 --errors "$tests/golden/bf16_errors.json")
rounded=()
for folder in "${folders[@]}"; do
  case $(basename "$folder") in
    module_*) [[ $mode == *data ]] || rounded+=("$folder") ;;
    model_*) rounded+=("$folder") ;;
  esac
done
folders=("${rounded[@]}")
case $form in
  one) for chunk in 0 16 48; do run "$check" "${bf16[@]}" --chunk "$chunk"; done ;;
  ranks) on_ranks "${bf16[@]}" --chunk 16 --hot-rounds 0 ;;
  data) on_ranks "${bf16[@]}" --chunk 32 --data-ranks 2 ;;
  micro) run "$check" "${bf16[@]}" --chunk 16 --micro-batch 3 ;;
  micro_ranks) on_ranks "${bf16[@]}" --chunk 16 --micro-batch 2 ;;
  micro_data) on_ranks "${bf16[@]}" --chunk 16 --micro-batch 2 --data-ranks 2 ;;
esac
