#!/usr/bin/env bash
# threads.sh TIMEPIPE GOLDEN_CHECK MPIEXEC: how many threads ranks take, what is
# said of it, and that ranks which share a core don't wait in loops.
source "$(dirname "$0")/common.sh"
timepipe=$1 golden_check=$2 mpiexec=$3
unset OMP_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT

says() { grep -qxF -- "$1" out || fail "no line: $1" out; }

head -c 1500 "$(command -v bash)" | base64 -w0 >text
train=("$timepipe" train "$configs/demo.textproto" data.train=text
  data.sequence_length=256 train.chunk_tokens=64 data.held_out=0
  optimizer.steps=1 optimizer.warmup_steps=0)
one_cpu=(taskset -c "$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')")

"${one_cpu[@]}" "${train[@]}" >out 2>&1 || fail "alone" out
grep -qE '^threads: 1 \(1( of [0-9]+)? cores?\)$' out || fail "alone" out
"$mpiexec" -n 3 "${one_cpu[@]}" "${train[@]}" parallel.time=3 \
  run_dir=run >out 2>&1 || fail "three ranks on a core" out
grep -qE '^threads: 1 per rank \(1( of [0-9]+)? cores? shared by 3 ranks\)$' \
  out || fail "three ranks on a core" out
says "warning: 3 threads of 3 ranks take turns on 1 core"
grep -q ', 1 thread(s)$' run/logs/rank-00002.log || fail "another number" out
OMP_NUM_THREADS=3 "${train[@]}" >out 2>&1 || fail "three threads" out
says "threads: 3 (OMP_NUM_THREADS)"
echo "ok: threads by default and as asked"

# The OpenMP library says what it reads each time that it is loaded.
loaded() { # loaded TIMES COMMAND...
  local times=$1
  shift
  OMP_DISPLAY_ENV=true "$@" >out 2>&1 || fail "$*" out
  [[ $(grep -c "OMP_WAIT_POLICY" out) -eq $times ]] ||
    fail "not loaded $times times: $*" out
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
"${train[@]}" 2>&1 | grep '^threads: ' >free
OMP_PROC_BIND=true "${train[@]}" >out 2>&1 || fail "OMP_PROC_BIND" out
says "$(cat free)"
# It has the same arguments, name and place.
OMP_NUM_THREADS=2 loaded 2 "${one_cpu[@]}" bash -c \
  "cd '$(dirname "$timepipe")' && exec -a 'a name' ./timepipe config \"\$@\"" - \
  "$configs/demo.textproto" "data.train=two  words"
says '  train: "two  words"'
echo "ok: no waiting in loops where threads outnumber cores"

for value in x 0 -1 2x 99999999999; do
  OMP_NUM_THREADS=$value "$mpiexec" -n 2 "${train[@]}" parallel.time=2 \
    >out 2>&1 && fail "OMP_NUM_THREADS=$value was taken" out
  says "timepipe: OMP_NUM_THREADS: $value, expected a number from 1 to 4096"
  [[ $(grep -c '^timepipe:' out) -eq 1 ]] || fail "more than one line" out
done
OMP_NUM_THREADS=x "$timepipe" config "$configs/demo.textproto" \
  >out 2>&1 && fail "config took OMP_NUM_THREADS=x" out
says "timepipe: OMP_NUM_THREADS: x, expected a number from 1 to 4096"
echo "ok: a number of threads that is none is refused"
