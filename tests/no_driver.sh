#!/usr/bin/env bash
# no_driver.sh TIMEPIPE [HOST_TIMEPIPE]: a program with CUDA where there is no
# driver: it starts, works on the CPU, and says in one line what device=cuda
# lacks. HOST_TIMEPIPE, of the layer that runs CUDA sources on the CPU
# (build/hostcuda), plays the machines that have a driver, but not what it takes.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/launcher/common.sh"
timepipe=$1 host=${2:-}

# Nothing of the driver's is needed to start.
readelf -d "$timepipe" >out || fail "readelf" out
grep -q 'NEEDED' out || fail "readelf shows no libraries" out
! grep -qE 'NEEDED.*(libcuda|libnvidia)' out || fail "needs a driver" out

head -c 20000 "$timepipe" | base64 -w0 >text
tiny=("$configs/demo.textproto" data.train=text data.sequence_length=256
  train.chunk_tokens=64 model.num_layers=1 model.hidden_size=32
  model.intermediate_size=64 model.num_heads=2 optimizer.steps=2
  optimizer.warmup_steps=1)
trains() {  # trains PROGRAM OVERRIDE...: two steps
  rm -rf run
  "$1" train "${tiny[@]}" run_dir=run "${@:2}"
}
bench=(bench kernels --size tiny --seconds 0 --only '^rope$')

"$timepipe" --help >out 2>&1 || fail "--help" out
trains "$timepipe" >out 2>&1 || fail "train on the CPU" out
"$timepipe" "${bench[@]}" >out 2>&1 || fail "bench on the CPU" out
if ! command -v nvidia-smi >/dev/null; then
  refused "no NVIDIA driver" trains "$timepipe" device=cuda
  mistake "no NVIDIA driver" "$timepipe" "${bench[@]}" --device cuda
fi
[ -n "$host" ] || { echo ok; exit; }

# lacks SETTING TEXT: a machine like this is told so.
lacks() {
  mistake "$2" env "TIMEPIPE_HOSTCUDA_$1" "$host" "${bench[@]}" --device cuda
  refused "$2" env "TIMEPIPE_HOSTCUDA_$1" "$host" train "${tiny[@]}" \
    run_dir=run device=cuda
}
lacks DRIVER=0 "no NVIDIA driver"
lacks DRIVER=12080 "the driver is for CUDA 12.8, expected one for 13.0 or later"
lacks CAPABILITY=75 "its compute capability is 7.5, expected 8.0 or later"
lacks DEVICES=0 "no device is visible"
lacks MEMORY=536870912 "it has 512.0 MiB of memory, expected 1.00 GiB or more"
mistake "expected one of the 1 visible" \
  env TIMEPIPE_HOSTCUDA_DEVICES=1 "$host" "${bench[@]}" --device cuda:1
# And one that has what it takes isn't.
"$host" "${bench[@]}" --device cuda >out 2>&1 || fail "the layer itself" out
echo ok
