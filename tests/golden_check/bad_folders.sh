#!/usr/bin/env bash
# bad_folders.sh GOLDEN_CHECK MPIEXEC: a folder that lacks something fails with
# the reason in its own last line; those after it are still run.
set -euo pipefail
check=$1 mpiexec=$2
golden=$(cd "$(dirname "$0")/../golden" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "bad_folders.sh: $1" >&2
  cat "$work/out" >&2
  exit 1
}
spoil() {  # spoil NAME FOLDER: a copy of a golden folder
  cp -r "$golden/$2" "$work/$1"
}
# expect STATUS PATTERN COMMAND...: the status, and a line of the output
expect() {
  local status=0
  "${@:3}" >"$work/out" 2>&1 || status=$?
  ((status == $1)) || fail "status $status, expected $1: ${*:3}"
  grep -qE "$2" "$work/out" || fail "no line '$2': ${*:3}"
}

spoil no_constants opt_mlp_innerwarm
sed -i 's/"clip":/"klip":/' "$work/no_constants/notes.json"
spoil no_width model_gate_only
sed -i 's/"hidden_size":/"hidden_sice":/' "$work/no_width/config.json"
spoil no_notes layer_linear
rm "$work/no_notes/notes.json"
spoil no_case layer_linear
rm "$work/no_case/case.safetensors"
good=$golden/layer_linear

expect 1 "^$work/no_constants: FAIL .*optimizer.clip is missing" \
  "$check" "$work/no_constants" "$good"
grep -q "^$good: ok " "$work/out" || fail "the next folder wasn't run"
expect 1 "^$work/no_width: FAIL .*hidden_si[cz]e" "$check" "$work/no_width"
expect 1 "^$work/no_case: FAIL .*case.safetensors" "$check" "$work/no_case"
expect 1 "^$work: FAIL " "$check" "$work"
expect 0 "^$work/no_notes: ok " "$check" "$work/no_notes"
grep -q '^not compared: W1_mid$' "$work/out" || fail "W1_mid isn't listed"
expect 0 '^objective .* ok$' "$check" "$good"
expect 1 "^$work/no_constants: FAIL " \
  "$mpiexec" -n 2 "$check" "$work/no_constants" "$good"
grep -q "^$good: ok " "$work/out" || fail "the next folder wasn't run"
