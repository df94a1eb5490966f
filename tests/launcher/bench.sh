#!/usr/bin/env bash
# timepipe bench kernels, on a device that it is given:
#   bench.sh TIMEPIPE [DEVICE]
source "$(dirname "$0")/common.sh"
timepipe=$1 device=${2:-cpu}

bench=("$timepipe" bench kernels --device "$device" --size tiny --seconds 0.001)
"${bench[@]}" --json all.json >out 2>&1 || fail "bench kernels" out
grep -q '^limits: copy ' out || fail "no limits" out
# Each operation of the fronts has its line.
for name in $(sed -nE 's/^(void|bool) ([a-z_]+)\(Context&.*/\2/p' \
  "$root/kernels/device_kernels.inc"); do
  case $name in
    cross_entropy | ttt_scan_*) continue ;;  # have several names
  esac
  grep -q "^$name " out || fail "no line of $name" out
done
for pass in forward backward; do
  grep -qE "^ttt_scan $pass|^ttt_scan_$pass (linear|mlp) +bf16" out ||
    fail "no line of the scan's $pass" out
done
[ "$(grep -c '^ttt_scan \(linear\|mlp\) \(forward\|backward\) *[12] ' out)" -eq 8 ] ||
  fail "not 8 lines by heads" out
grep -q '"size": "tiny"' all.json || fail "no size" all.json
kernels=$(grep -c '"right": true' all.json)
[ "$kernels" -gt 50 ] || fail "$kernels kernels were right" all.json
! grep -q '"right": false' all.json || fail "one was wrong" all.json
# Errors are there to be seen: sums in f32 have some.
[ "$(grep -cE '"error": [0-9.]*[1-9]' all.json)" -gt $((kernels / 2)) ] ||
  fail "few have an error" all.json
[ "$(grep -c '"us_per_mini_batch": ' all.json)" -eq 8 ] ||
  fail "not 8 scans" all.json

"${bench[@]}" --only '^rope$' >out 2>&1 || fail "--only" out
[ "$(grep -c '^rope ' out)" -eq 2 ] || fail "not rope in two types" out
! grep -q '^add ' out || fail "more than was asked for" out
mistake "--only: nothing, expected" "${bench[@]}" --only nothing
mistake "--device" "${bench[@]}" --device gpu
mistake "nowhere/at: " "${bench[@]}" --json nowhere/at/all.json
echo ok
