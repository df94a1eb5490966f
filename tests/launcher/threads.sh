#!/usr/bin/env bash
# threads.sh TIMEPIPE GOLDEN_CHECK MPIEXEC: how many threads ranks take, what is
# said of it, and that ranks which share a core don't wait in loops.
set -euo pipefail
timepipe=$1 golden_check=$2 mpiexec=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset OMP_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT

fail() {
  echo "FAILED: $1"
  cat "$work/out"
  exit 1
}
says() { grep -qxF -- "$1" "$work/out" || fail "no line: $1"; }

head -c 1500 "$(command -v bash)" | base64 -w0 >"$work/text"
train=("$timepipe" train "$root/configs/demo.textproto" "data.train=$work/text"
  data.sequence_length=256 train.chunk_tokens=64 data.held_out=0
  optimizer.steps=1 optimizer.warmup_steps=0)
one_cpu=(taskset -c "$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')")

"${one_cpu[@]}" "${train[@]}" >"$work/out" 2>&1 || fail "alone"
grep -qE '^threads: 1 \(1( of [0-9]+)? cores?\)$' "$work/out" || fail "alone"
"$mpiexec" -n 3 "${one_cpu[@]}" "${train[@]}" parallel.time=3 \
  run_dir="$work/run" >"$work/out" 2>&1 || fail "three ranks on a core"
grep -qE '^threads: 1 per rank \(1( of [0-9]+)? cores? shared by 3 ranks\)$' \
  "$work/out" || fail "three ranks on a core"
says "warning: 3 threads of 3 ranks take turns on 1 core"
grep -q ', 1 thread(s)$' "$work/run/logs/rank-00002.log" || fail "another number"
OMP_NUM_THREADS=3 "${train[@]}" >"$work/out" 2>&1 || fail "three threads"
says "threads: 3 (OMP_NUM_THREADS)"
echo "ok: threads by default and as asked"

# The OpenMP library says what it reads each time that it is loaded.
loaded() { # loaded TIMES COMMAND...
  local times=$1
  shift
  OMP_DISPLAY_ENV=true "$@" >"$work/out" 2>&1 || fail "$*"
  [[ $(grep -c "OMP_WAIT_POLICY" "$work/out") -eq $times ]] ||
    fail "not loaded $times times: $*"
}
golden=("$golden_check" "$root/tests/golden/layer_linear")
for program in "${train[*]}" "${golden[*]}"; do
  read -ra program <<<"$program"
  loaded 1 "${one_cpu[@]}" "${program[@]}"
  OMP_NUM_THREADS=1 loaded 1 "${one_cpu[@]}" "${program[@]}"
  OMP_NUM_THREADS=2 loaded 2 "${one_cpu[@]}" "${program[@]}"
  OMP_NUM_THREADS=2 OMP_WAIT_POLICY=active \
    loaded 1 "${one_cpu[@]}" "${program[@]}"
  OMP_NUM_THREADS=2 GOMP_SPINCOUNT=100 \
    loaded 1 "${one_cpu[@]}" "${program[@]}"
done
# Started again, it has all of its CPUs, though the library binds the thread
# that loads it to one of them.
"${train[@]}" 2>&1 | grep '^threads: ' >"$work/free"
OMP_PROC_BIND=true "${train[@]}" >"$work/out" 2>&1 || fail "OMP_PROC_BIND"
says "$(cat "$work/free")"
# It has the same arguments, name and place.
OMP_NUM_THREADS=2 loaded 2 "${one_cpu[@]}" bash -c \
  "cd '$(dirname "$timepipe")' && exec -a 'a name' ./timepipe config \"\$@\"" - \
  "$root/configs/demo.textproto" "data.train=two  words"
says '  train: "two  words"'
echo "ok: no waiting in loops where threads outnumber cores"

for value in x 0 -1 2x 99999999999; do
  OMP_NUM_THREADS=$value "$mpiexec" -n 2 "${train[@]}" parallel.time=2 \
    >"$work/out" 2>&1 && fail "OMP_NUM_THREADS=$value was taken"
  says "timepipe: OMP_NUM_THREADS: $value, expected a number from 1 to 4096"
  [[ $(grep -c '^timepipe:' "$work/out") -eq 1 ]] || fail "more than one line"
done
OMP_NUM_THREADS=x "$timepipe" config "$root/configs/demo.textproto" \
  >"$work/out" 2>&1 && fail "config took OMP_NUM_THREADS=x"
says "timepipe: OMP_NUM_THREADS: x, expected a number from 1 to 4096"
echo "ok: a number of threads that is none is refused"
