#!/bin/bash
# mpi_failures.sh MPIEXEC PROGRAM: one rank fails, all must end: in time, with a
# status and with a line of each rank that tells what it was waiting for.
set -u
mpiexec=$1
program=$2
failures=0

# check NAME STATUS COMMAND... -- PATTERN...: every pattern matches a whole line.
check() {
  local name=$1 status=$2 command=() output pattern got
  shift 2
  while [ "$1" != -- ]; do
    command+=("$1")
    shift
  done
  shift
  output=$(timeout -k 5 60 "${command[@]}" 2>&1 </dev/null)
  got=$?
  if [ "$got" -ne "$status" ]; then
    echo "FAILED: $name: status $got, expected $status"
    failures=$((failures + 1))
  fi
  for pattern in "$@"; do
    if ! grep -qxE -- "$pattern" <<<"$output"; then
      echo "FAILED: $name: no line '$pattern'"
      failures=$((failures + 1))
    fi
  done
  echo "$name: status $got"
  printf '%s\n' "$output"
}

missing='state of layer 2, chunk 5, micro-batch 0 from rank 2'
waited="(, step 7: waited 1 s|: SIGTERM while waiting) for"
end=': leaves at once'
forever=100000

check 'a rank never answers' 75 "$mpiexec" -n 3 "$program" silent 1 -- \
  "rank [01], step 7: waited 1 s for $missing" \
  "rank 0$waited $missing($end)?" "rank 1$waited $missing($end)?" \
  "rank 2: SIGTERM while not answering$end"

check 'a rank is stopped' 75 "$mpiexec" -n 3 "$program" stopped 1 -- \
  "rank [01], step 7: waited 1 s for $missing" \
  "rank 0$waited $missing($end)?" "rank 1$waited $missing($end)?"

check 'a rank is killed' 137 "$mpiexec" -n 3 "$program" killed $forever -- \
  "rank 0: SIGTERM while waiting for $missing$end" \
  "rank 1: SIGTERM while waiting for $missing$end"

check 'a rank throws' 75 "$mpiexec" -n 3 "$program" throws $forever -- \
  'rank 2: disk full' \
  "rank 0: SIGTERM while waiting for $missing$end" \
  "rank 1: SIGTERM while waiting for $missing$end"

check 'a rank never comes to the end' 75 "$mpiexec" -n 3 "$program" late 1 -- \
  '.* rank [01], step 7: waited 1 s for all ranks in the end' \
  "rank 2: SIGTERM while not answering$end"

# Under a launcher of another MPI every process is rank 0 of 1.
check 'a launcher of another MPI' 75 \
  env PMI_SIZE=3 PMI_RANK=1 "$program" silent 1 -- \
  'rank -1: PMI_SIZE: 3, but MPI started with 1 ranks: .*mpirun.*'

exit $((failures > 0))
