#!/usr/bin/env bash
# Registers, shared memory and spills of every kernel of kernels/cuda on every
# chip, as ptxas tells them; status 1 if one spills more than 64 bytes.
#   bench/cuda_kernels.sh [CHIP...]    default sm_80 sm_90 sm_100
# Prints a table for docs/cuda.md: an instance a line (f32, f64 and bf16 of the
# types that it works on), spills in bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly most_spills=64
chips=("$@")
((${#chips[@]})) || chips=(sm_80 sm_90 sm_100)
nvcc=build/cuda-toolkit/bin/nvcc
[[ -x $nvcc ]] || nvcc=$(command -v nvcc) || {
  echo "cuda_kernels.sh: no nvcc: launcher/setup.sh --cuda installs one" >&2
  exit 2
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
measure() {  # measure CHIP SOURCE: "chip kernel registers shared spills" lines
  "$nvcc" -std=c++20 -O3 -I. -static-global-template-stub=false \
    -gencode "arch=compute_${1#sm_},code=$1" -Werror all-warnings \
    -Xptxas -v -c "$2" -o "$work/$$-$BASHPID.o" 2>&1 | c++filt -p |
    awk -v chip="$1" '
      /Compiling entry function/ {
        name = $0
        sub(/^[^\047]*\047/, "", name)
        sub(/\047 for .*/, "", name)
      }
      /bytes spill/ {
        for (i = 1; i < NF; ++i) if ($(i + 2) == "spill") spills += $i
      }
      /Used [0-9]+ registers/ {
        for (i = 1; i < NF; ++i) {
          if ($(i + 1) == "registers,") registers = $i
          if ($(i + 1) == "bytes" && $(i + 2) ~ /^smem/) shared = $i
        }
        print chip "\t" name "\t" registers "\t" shared + 0 "\t" spills + 0
        spills = shared = 0
      }
      /error/ { print | "cat >&2"; failed = 1 }
      END { exit failed }'
}
export -f measure
export nvcc work
for chip in "${chips[@]}"; do
  for source in kernels/cuda/*.cu; do printf '%s\n%s\n' "$chip" "$source"; done
done | xargs -P "${JOBS:-$(nproc)}" -n 2 bash -c 'set -o pipefail; measure "$@"' _ \
  >"$work/figures"

# A line for each instance, a column for each chip.
sort -t$'\t' -k2,2 -k1,1V "$work/figures" | sed -E 's/timepipe::(cuda::)?//g
  s/\(unnamed namespace\):://g' | awk -F'\t' -v chips="${chips[*]}" \
  -v most="$most_spills" '
  {
    cell[$2, $1] = $3 " / " $4 " / " $5
    if (!($2 in seen)) { order[++n] = $2; seen[$2] = 1 }
    if ($5 > most) { print $1 ": " $2 " spills " $5 " bytes" | "cat >&2"; bad = 1 }
  }
  END {
    count = split(chips, chip, " ")
    printf "| kernel: registers / shared bytes / spilled bytes |"
    for (i = 1; i <= count; ++i) printf " %s |", chip[i]
    printf "\n|---|"
    for (i = 1; i <= count; ++i) printf "---|"
    printf "\n"
    for (k = 1; k <= n; ++k) {
      printf "| `%s` |", order[k]
      for (i = 1; i <= count; ++i) printf " %s |", cell[order[k], chip[i]]
      printf "\n"
    }
    if (n == 0) { print "no kernels" | "cat >&2"; bad = 1 }
    exit bad
  }'
