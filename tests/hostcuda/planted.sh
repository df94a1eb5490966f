#!/usr/bin/env bash
# Runs the kernels with errors of a sanitizer's build, and the correct ones, and
# says which reports are missing:  tests/hostcuda/planted.sh BUILD_FOLDER
set -uo pipefail

program=$1/bin/planted_defects
export TSAN_OPTIONS=halt_on_error=1 ASAN_OPTIONS=detect_leaks=1

failures=0 programs=0
while IFS=$'\t' read -r name grain report; do
  programs=$((programs + 1))
  output=$(TIMEPIPE_HOSTCUDA_GRAIN=$grain "$program" "$name" 2>&1
    echo "status $?")
  # The kernel's own line, too.
  if [[ $output =~ $report ]] &&
    [[ $name == correct || $output =~ ${name%%<*}[^$'\n']*_kernels\.cu:[0-9]+ ]]
  then
    echo "$name ($grain): as expected"
  else
    echo "$name ($grain): no \"$report\" in"
    sed 's/^/    /' <<<"$output" | head -30
    failures=$((failures + 1))
  fi
done < <("$program")

echo "$programs programs, $failures without their report"
((programs > 0 && failures == 0))
