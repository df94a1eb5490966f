#!/usr/bin/env bash
# coverage.sh: the lines of kernels/cuda that no test executes, by the layer that
# runs them on the CPU (preset hostcuda-coverage), and how many there are of each
# file. A line of a template counts as executed if it is for one type.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=build/hostcuda-coverage
jobs=${JOBS:-$(nproc)}

cmake --preset hostcuda-coverage >/dev/null
cmake --build "$build" -j "$jobs" \
  --target kernels_test ttt_decode_test ttt_scan_test golden_check
find "$build" -name '*.gcda' -delete
export TIMEPIPE_TEST_DEVICE=cuda TIMEPIPE_POOL=pass OMP_NUM_THREADS=1
for program in kernels_test ttt_decode_test ttt_scan_test; do
  "$build/bin/$program" --gtest_brief=1 >"$build/$program.log" 2>&1 || {
    tail -n 20 "$build/$program.log"
    exit 1
  }
done
tests/golden_check/run_all.sh "$build/bin/golden_check" device 1

objects=$build/kernels/CMakeFiles/timepipe_kernels_cuda.dir/cuda
find "$objects" -name '*.gcda' | while read -r data; do
  gcov --stdout --preserve-paths --source-prefix "$PWD" --relative-only \
    --object-directory "${data%/*}" "$data" 2>/dev/null
done | awk '
  # "count:line:text"; a count is "-" without code, "#####" if never.
  { split($0, part, ":"); count = part[1]; line = part[2] + 0 }
  /^ *-: *0:Source:/ { file = substr($0, index($0, "Source:") + 7); next }
  file !~ /^kernels\/cuda\// || line == 0 { next }
  count ~ /^ *-$/ { next }
  {
    at = file ":" line
    if (!(at in text)) {
      text[at] = substr($0, length(part[1]) + length(part[2]) + 3)
      of[at] = file
    }
    if (count ~ /[0-9]/) ran[at] = 1
  }
  END {
    for (at in text) {
      ++lines[of[at]]
      if (at in ran) ++executed[of[at]]
      else print at ": " text[at] | "sort -t: -k1,1 -k2,2n"
    }
    close("sort -t: -k1,1 -k2,2n")
    for (file in lines) {
      printf "%s: %d of %d lines\n", file, executed[file], lines[file] | "sort"
      all += lines[file]
      done += executed[file]
    }
    close("sort")
    if (all == 0) { print "no lines were counted"; exit 1 }
    printf "executed: %d of %d lines, %.1f%%\n", done, all, 100 * done / all
  }'
