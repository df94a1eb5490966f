#!/usr/bin/env bash
# gpu-pack.sh [--host]: builds and packs what tests/gpu.sh runs on a machine with
# a GPU: build/gpu-pack.tar.gz, a folder gpu-pack with programs, the libraries
# that they need (but cuBLAS and the driver's), golden cases and Python wheels
# for the peers, below 50 MB. There:
#   tar xzf gpu-pack.tar.gz && OUT=results gpu-pack/gpu.sh
# --host: the programs of build/hostcuda, which run the CUDA sources on the CPU,
# to try the pack on this machine.
# Environment: OFFICIAL_TTT, the authors' ttt.py, to be timed as a peer;
# JOBS, of the build. What lies in ../shared is packed where it is at hand: more
# golden cases, and the prototypes' chains, compiled here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

host=""
if [[ ${1:-} == --host ]]; then
  host=1
  shift
fi
if (($#)); then
  echo "usage: tests/gpu-pack.sh [--host]" >&2
  exit 2
fi
readonly most_bytes=50000000
programs=(timepipe golden_check gpu_fragments kernels_test ttt_decode_test
  ttt_scan_test)
shared=../shared
pack=build/gpu-pack

# Without MPI, which that machine doesn't have.
build=build/gpu
options=(--preset cuda -B "$build" -D TIMEPIPE_BUILD_TESTS=ON
  -D TIMEPIPE_WITH_MPI=OFF)
if [[ $host ]]; then
  build=build/hostcuda
  options=(--preset hostcuda)
fi
cmake "${options[@]}" >/dev/null
cmake --build "$build" -j "${JOBS:-$(nproc)}" --target "${programs[@]}"

rm -rf "$pack"
mkdir -p "$pack"/{bin,lib,libc,golden}
cp tests/gpu.sh tests/gpu/peers.py "$pack/"
for program in "${programs[@]}"; do
  strip -o "$pack/bin/$program" "$build/bin/$program"
done

# The C library's own are apart: that machine's serve if they are as new.
while read -r name path; do
  case $name in
    libcublas* | libcuda.so* | linux-vdso*) ;;
    */ld-linux-* | libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | \
      librt.so.* | libresolv.so.*) cp -L "$path" "$pack/libc/" ;;
    *) cp -L "$path" "$pack/lib/" ;;
  esac
done < <(for program in "${programs[@]}"; do ldd "$build/bin/$program"; done |
  awk '/=> \//{print $1, $3} /^\t\/.*ld-linux/{print $1, $1}' | sort -u)
strip --strip-unneeded "$pack"/lib/*

cp tests/golden/bf16_errors.json "$pack/golden/"
cases=$shared/goldens
[[ -d $cases ]] || cases=tests/golden
cp -r "$cases"/{layer,module,opt,hf}_* "$pack/golden/"
for folder in "$cases"/{gen,model}_*; do  # the small ones
  (($(du -sk "$folder" | cut -f1) > 650)) || cp -r "$folder" "$pack/golden/"
done

mkdir "$pack/wheels"
python3 -m pip download -q --disable-pip-version-check --no-deps \
  --only-binary :all: --python-version 3.12 --require-hashes \
  -d "$pack/wheels" -r tests/gpu/wheels.txt ||
  echo "gpu-pack.sh: no wheels: fla won't be timed" >&2
[[ -z ${OFFICIAL_TTT:-} ]] || cp "$OFFICIAL_TTT" "$pack/ttt.py"

probe=$shared/prototypes/gpu-probe
if [[ -d $probe && -z $host ]]; then
  mkdir "$pack/probe"
  cp -r "$probe/data" "$pack/probe/"
  nvcc=build/cuda-toolkit/bin/nvcc
  [[ -x $nvcc ]] || nvcc=nvcc
  "$nvcc" -O3 -std=c++20 -gencode 'arch=compute_80,code=[sm_90,compute_80]' \
    "$probe/chains.cu" -o "$pack/bin/probe_chains"
fi

chmod -R u+w "$pack"
tar -C build -cf - gpu-pack | gzip -9 >"$pack.tar.gz"
bytes=$(stat -c %s "$pack.tar.gz")
echo "gpu-pack.sh: $pack.tar.gz, $((bytes / 1000000)) MB"
if ((bytes > most_bytes)); then
  echo "gpu-pack.sh: more than $((most_bytes / 1000000)) MB" >&2
  exit 1
fi
