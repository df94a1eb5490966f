#!/bin/bash
# launches.sh FILE...: adds up the launches that test programs appended to files
# (TIMEPIPE_HOSTCUDA_LAUNCHES), lines "count<tab>kernel", and prints them. Fails
# with the names of the kernels that no test launched, and without any lines.
set -euo pipefail
[[ $# -gt 0 ]] || { echo "usage: launches.sh FILE..." >&2; exit 2; }

awk -F '\t' '
  { launches[$2] += $1 }
  END {
    for (kernel in launches) printf "%d\t%s\n", launches[kernel], kernel
  }' "$@" | sort -t $'\t' -k 2 | awk -F '\t' '
  { printf "%12d  %s\n", $1, $2; ++kernels }
  $1 == 0 { never = never "  " $2 "\n"; ++unused }
  END {
    if (kernels == 0) { print "no launches were recorded"; exit 1 }
    printf "%d kernels\n", kernels
    if (unused > 0) {
      printf "%d of them were never launched:\n%s", unused, never
      exit 1
    }
  }'
