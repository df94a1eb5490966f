#!/usr/bin/env bash
# gpu.sh [--host] [--only PART]: what a machine with a GPU has to tell, in at most
# five minutes: needs a driver, CUDA 13's cuBLAS and, for the peers, PyTorch;
# none of our packages, no MPI, no network. It lies in the folder that
# tests/gpu-pack.sh packed, beside bin/ and lib/; results go to OUT, default
# ./gpu-results:
#   results.json  all parts so far, written after each
#   log.txt       what they printed
#   table.txt     the figures to read
# Parts, the most important first, each in its own limit of time:
#   fragments  whether tensor cores do what the tests' layer does
#   goldens    golden cases of layers, modules, models, steps, generation
#   tests      the kernels' unit tests
#   kernels    timepipe bench kernels: error and speed of every kernel
#   scans      timepipe bench kernels: the scan by number of heads
#   chains     the prototypes of the fast chains, if they were packed
#   sanitizer  compute-sanitizer on small shapes, if it takes the device
#   peers      the authors' layer and fla's on the same shapes
# --host: the pack has the layer that runs the CUDA sources on the CPU; smaller
# sizes. Status 1 if a part that ran found something wrong.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=$(realpath -m "${OUT:-gpu-results}")
host="" only=""
while (($#)); do
  case $1 in
    --host) host=1 ;;
    --only)
      only=${2:-}
      shift ;;
    *)
      echo "usage: gpu.sh [--host] [--only PART]" >&2
      exit 2 ;;
  esac
  shift
done

mkdir -p "$OUT"
log=$OUT/log.txt
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
: >"$log"
say() { echo "$*" | tee -a "$log"; }

# Libraries: the pack's own, and cuBLAS from where CUDA or PyTorch has it.
folders() {  # where libcublas.so.13 may lie
  local nvcc
  nvcc=$(command -v nvcc) && dirname "$(dirname "$(readlink -f "$nvcc")")"
  printf '%s\n' "${CUDA_HOME:-}" /usr/local/cuda /usr/local/cuda-13*
  command -v python3 >/dev/null && python3 - <<'END' 2>/dev/null
import glob, site
for folder in site.getsitepackages():
    print(*glob.glob(folder + "/nvidia/cu13"), sep="\n")
END
}
cublas=""
while read -r folder; do
  [[ -n $folder && -z $cublas ]] || continue
  for lib in "$folder"/{lib64,lib,targets/x86_64-linux/lib}; do
    [[ ! -e $lib/libcublas.so.13 ]] || cublas=$lib
  done
done < <(folders)
own_path=$here/lib${cublas:+:$cublas}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# With this machine's loader; with the pack's own where that is too old.
loader=()
run() {  # run PROGRAM ARGUMENT...: of bin/
  local program=$here/bin/$1
  shift
  LD_LIBRARY_PATH=$own_path "${loader[@]}" "$program" "$@"
}
# A program that starts itself anew to wait otherwise can't with another loader.
export OMP_WAIT_POLICY=passive
if ! run timepipe --version >/dev/null 2>&1; then
  loader=("$here/libc/ld-linux-x86-64.so.2" --library-path "$here/libc:$own_path")
  run timepipe --version >>"$log" 2>&1 || {
    say "gpu.sh: bin/timepipe doesn't start: $(tail -n 1 "$log")"
    exit 1
  }
  say "the C library of this machine doesn't serve: using the pack's"
fi

readonly limit=290  # seconds of all parts
failed=0
text_of() {  # as a string of JSON
  printf '"%s"' "$(tr -d '\000-\037\\"' | cut -c1-300)"
}
# Whatever is there becomes results.json: a part that is stopped leaves the
# others'.
gather() {
  local file comma=""
  {
    printf '{'
    for file in "$parts"/*.json; do
      [[ -s $file ]] || continue
      printf '%s\n"%s": ' "$comma" "$(basename "$file" .json | cut -c4-)"
      cat "$file"
      comma=,
    done
    printf '}\n'
  } >"$parts/all" && mv "$parts/all" "$OUT/results.json"
}
number=0
part() {  # part NAME SECONDS: calls NAME, which writes $result, JSON
  local name=$1 seconds=$2 began=$SECONDS status=0 lines job
  number=$((number + 1))
  result=$parts/$(printf '%02d' "$number")-$name.json
  [[ -z $only || $only == "$name" ]] || return 0
  ((seconds <= limit - SECONDS)) || seconds=$((limit - SECONDS))
  if ((seconds < 5)); then
    say "== $name: left out, no time"
    return
  fi
  say "== $name"
  lines=$(wc -l <"$log")
  set -m  # a group of processes, which ends as one
  "$name" >>"$log" 2>&1 &
  job=$!
  set +m
  while kill -0 "$job" 2>/dev/null && ((SECONDS - began < seconds)); do
    sleep 0.2
  done
  if kill -TERM -- "-$job" 2>/dev/null; then
    sleep 1
    kill -KILL -- "-$job" 2>/dev/null
  fi
  wait "$job" 2>/dev/null || status=$?
  tail -n "+$((lines + 1))" "$log"
  case $status in
    0) say "== $name: ok, $((SECONDS - began)) s" ;;
    3) say "== $name: not to be had here" ;;
    *)
      failed=1
      say "== $name: FAILED, status $status, $((SECONDS - began)) s" ;;
  esac
  [[ -s $result ]] || printf '{"status": %d}' "$status" >"$result"
  gather
}

fragments() {
  run gpu_fragments "$result"
}

goldens() {
  local -A cases=(
    [all]="$(echo "$here"/golden/{layer,module,model,opt,gen,hf}_*)"
    [rounded]="$(echo "$here"/golden/{module,model}_*)"
  )
  if [[ $host ]]; then  # a few small ones
    cases[all]="$here/golden/layer_linear_partial $here/golden/gen_linear_tf"
    cases[rounded]=$here/golden/module_linear_tf
  fi
  local entries="" status=0 name of options text
  while read -r name of options; do
    # shellcheck disable=SC2086  # lists of words
    text=$(run golden_check --device cuda $options ${cases[$of]} 2>&1) || status=1
    local ok wrong
    ok=$(grep -c ': ok worst=' <<<"$text")
    wrong=$(grep -E 'FAIL|golden_check:|timepipe:' <<<"$text" | head -n 5)
    echo "goldens $name: $ok of $(wc -w <<<"${cases[$of]}") ok ${wrong:+: $wrong}"
    [[ $ok -eq $(wc -w <<<"${cases[$of]}") ]] || status=1
    entries+=${entries:+, }"\"$name\": {\"ok\": $ok, \"wrong\": $(text_of <<<"$wrong")}"
    echo "{$entries}" >"$result"
  done < <(
    for dtype in f32 f64; do
      for chunk in 16 48 0; do
        echo "$dtype/$chunk all --dtype $dtype --chunk $chunk"
      done
    done
    for chunk in 16 0; do
      echo "bf16/$chunk rounded --dtype bf16 --errors $here/golden/bf16_errors.json --chunk $chunk"
    done
  )
  return "$status"
}

tests() {
  local program status=0 entries="" text line
  export TIMEPIPE_TEST_DEVICE=cuda
  [[ -z $host ]] || export GTEST_FILTER='*Arguments*:*Wrong*:*RmsNorm*'
  for program in kernels_test ttt_decode_test ttt_scan_test; do
    text=$(run "$program" --gtest_brief=1 2>&1) || status=1
    line="$(sed -nE 's/^\[ *PASSED *\] ([0-9]+) .*/\1/p' <<<"$text") passed, $(
      grep -cE '^\[ *FAILED *\]' <<<"$text") failed"
    grep -E '^\[ *FAILED|Failure|error:' <<<"$text" | head -n 10
    echo "$program: $line"
    entries+=${entries:+, }"\"$program\": $(text_of <<<"$line")"
    echo "{$entries}" >"$result"
  done
  return "$status"
}

kernels() {
  local sizes=(--size 1.3b --seconds 0.1)
  [[ -z $host ]] || sizes=(--size tiny --seconds 0.001)
  run timepipe bench kernels --device cuda "${sizes[@]}" --only '^[^s]|^s[^c]' \
    --json "$result"
}

scans() {
  local sizes=(--size 125m --seconds 0.1)
  [[ -z $host ]] || sizes=(--size tiny --seconds 0.001)
  run timepipe bench kernels --device cuda "${sizes[@]}" --only '^scans$' \
    --json "$result"
}

chains() {
  [[ -x $here/bin/probe_chains ]] || return 3
  local work status=0
  work=$(mktemp -d)
  (cd "$here/probe" && OUT=$work run probe_chains) || status=$?
  cp "$work/chains.json" "$result" 2>/dev/null
  rm -rf "$work"
  return "$status"
}

sanitizer() {
  local tool errors
  tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  [[ -x $tool && -z $host ]] || return 3
  errors=$(TIMEPIPE_POOL=pass LD_LIBRARY_PATH=$own_path "$tool" --tool memcheck \
    --error-exitcode 9 "$here/bin/timepipe" bench kernels --device cuda \
    --size tiny --seconds 0 2>&1)
  local status=$?
  # It says so where it can't work with the device.
  ! grep -q 'Device not supported' <<<"$errors" || return 3
  grep -E 'ERROR SUMMARY|=========' <<<"$errors" | tail -n 20
  printf '{"status": %d, "summary": %s}' "$status" \
    "$(grep 'ERROR SUMMARY' <<<"$errors" | text_of)" >"$result"
  return "$status"
}

peers() {
  python3 -c 'import torch' 2>/dev/null || return 3
  local site official=()
  site=$(mktemp -d)
  [[ ! -d $here/wheels ]] || python3 -m pip install -q --no-index --no-deps \
    --target "$site" "$here"/wheels/*.whl 2>&1 | tail -n 2
  [[ ! -f $here/ttt.py ]] || official=(--official "$here/ttt.py")
  local device=cuda tokens=2048
  [[ -z $host ]] || device=cpu tokens=64
  PYTHONPATH=$site python3 "$here/peers.py" "$result" "${official[@]}" \
    --device "$device" --tokens "$tokens"
  local status=$?
  rm -rf "$site"
  return "$status"
}

facts=$(nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,memory.total \
  --format=csv,noheader 2>/dev/null | head -n 1)
say "device: ${facts:-none that nvidia-smi shows}; cuBLAS: ${cublas:-none}"
printf '{"device": %s, "cublas": %s, "program": %s}' "$(text_of <<<"$facts")" \
  "$(text_of <<<"$cublas")" "$(run timepipe --version | text_of)" >"$parts/00-machine.json"
gather
# What keeps every part from working is told once.
if ! why=$(run timepipe bench kernels --device cuda --size tiny --seconds 0 \
  --only '^add$' 2>&1); then
  say "gpu.sh: $(tail -n 1 <<<"$why")"
  exit 1
fi
part fragments 20
part goldens 60
part kernels 60
part scans 30
part chains 60
part tests 60
part sanitizer 30
part peers 60
grep -vE '^(\[|=====)' "$log" >"$OUT/table.txt"
say "all in $SECONDS s: $OUT"
exit "$failed"
