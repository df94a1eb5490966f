#!/usr/bin/env bash
# Installs what is missing, builds, and runs every check:  tests/check.sh
#   --fast  format, layering and the fast tests: a few minutes
#   --long  also clang-tidy on all sources, not only on those that changed, the
#           address sanitizer's slow tests, a minute of made-up bytes for every
#           reader of files (tests/fuzz/run.sh), and what takes 17 GiB of memory;
#           the CUDA sources for all chips, under the sanitizers, by line
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=${1:-}
if (($# > 1)) || [[ ! $mode =~ ^(--fast|--long)?$ ]]; then
  echo "usage: tests/check.sh [--fast|--long]" >&2
  exit 2
fi

jobs=$(nproc)
readonly tidy_seconds=90
# mpirun as root, more ranks than cores, and threads that don't spin meanwhile.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1
# Another clone of the same sources compiles nothing again.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

stage="" began=0
begin() {  # begin STAGE: the commands up to the next one are that stage
  [[ -z $stage ]] || echo "== $stage: $((SECONDS - began)) s"
  stage=$1 began=$SECONDS
  echo "== $stage"
}
report() {
  local status=$?
  ((status == 0)) || echo "check.sh: FAILED in stage: $stage" >&2
}
trap report EXIT

sources() {
  find . \( -path ./build -o -path ./.git \) -prune -o \
    \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print
}

# What differs from the last landed commit; a header stands for its source.
changed_sources() {
  local base
  base=$(git merge-base HEAD origin/main 2>/dev/null ||
    git rev-parse --verify --quiet HEAD~ 2>/dev/null || true)
  {
    [[ -z $base ]] || git diff --name-only "$base"
    git ls-files --others --exclude-standard 2>/dev/null || true
  } | sed -nE 's,(.*)\.(h|cc)$,./\1.cc,p' | sort -u
}

changed_kernels() {
  local base
  base=$(git merge-base HEAD origin/main 2>/dev/null ||
    git rev-parse --verify --quiet HEAD~ 2>/dev/null || true)
  [[ -z $base || -n $(git diff --name-only "$base" -- kernels/cuda) ||
    -n $(git ls-files --others --exclude-standard -- kernels/cuda) ]]
}

# Checks the sources that are named on stdin and were compiled, without the
# headers that g++ has precompiled: clang can't read them.
tidy() {
  local status=0
  sed 's/-Winvalid-pch -include [^ ]*//' build/release/compile_commands.json \
    >build/compile_commands.json
  grep -xFf <(sed -n "s|.*\"file\": \"$PWD/\(.*\)\".*|./\1|p" \
    build/compile_commands.json) |
    timeout "$1" xargs -r -n 1 -P "$jobs" clang-tidy --quiet -p build \
      2> >(grep -v 'warnings\? generated' >&2) || status=$?
  ((status != 124)) || echo "clang-tidy: stopped after $1 s, not all checked"
  ((status == 0 || status == 1 || status == 124))
}

build() {
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" -j "$jobs"
}

# Runs the unit tests under a sanitizer. Those of g++ 12 fail where the kernel
# randomizes more bits of an address than they know of.
sanitize() {
  local run=()
  if setarch -R true 2>/dev/null; then run=(setarch -R); fi
  build "$1"
  if [[ $mode == --long ]]; then
    cmake --build "build/$1" --target long_unit_tests -j "$jobs"
    "${run[@]}" ctest --test-dir "build/$1" -L "$1" -j "$jobs" --output-on-failure
  else
    "${run[@]}" ctest --preset "$1" -j "$jobs"
  fi
}

# The CUDA sources on the CPU under a sanitizer, and whether it sees the errors
# that are planted for it (which Planted.* are as well: it would end them).
sanitize_device() {
  cmake --preset "$1" >/dev/null
  cmake --build "build/$1" -j "$jobs" \
    --target unit_tests planted_defects planted_streams
  TIMEPIPE_TEST_DEVICE=cuda TIMEPIPE_POOL=pass GTEST_FILTER='-Planted.*' \
    ctest --test-dir "build/$1" -R '_test_[1-4]$' -j "$jobs" --output-on-failure
  tests/hostcuda/planted.sh "build/$1"
  tests/hostcuda/planted_streams.sh "build/$1/bin/planted_streams"
}

begin setup
if [[ $mode == --long ]]; then
  launcher/setup.sh --cuda clang libclang-rt-14-dev
else
  launcher/setup.sh --cuda
fi
begin format
sources | xargs clang-format --dry-run -Werror
begin layering
tests/layering.sh
begin "release build"
build release
if [[ $mode == --fast ]]; then
  begin "fast tests"
  ctest --preset release -j "$jobs" -L fast
  exit
fi
begin clang-tidy
if [[ $mode == --long ]]; then
  sources | tidy 0
else
  changed_sources | tidy "$tidy_seconds"
fi
begin "CUDA build"
build cuda
if [[ $mode == --long ]] || changed_kernels; then
  begin "CUDA for all chips"
  bench/cuda_kernels.sh >build/cuda/kernels.md
fi
begin "CUDA on the CPU"
build hostcuda
export TIMEPIPE_HOSTCUDA_LAUNCHES=$PWD/build/hostcuda/launches.txt
rm -f "$TIMEPIPE_HOSTCUDA_LAUNCHES"
echo "== CUDA on the CPU, built: $((SECONDS - began)) s"
ctest --preset hostcuda -j "$jobs"
tests/no_driver.sh "$PWD"/build/{cuda,hostcuda}/bin/timepipe
build/hostcuda/bin/timepipe bench kernels --device cuda --size tiny --seconds 0
tests/hostcuda/launches.sh "$TIMEPIPE_HOSTCUDA_LAUNCHES"
unset TIMEPIPE_HOSTCUDA_LAUNCHES
begin "address sanitizer"
sanitize asan
begin "thread sanitizer"
sanitize tsan
if [[ $mode == --long ]]; then
  begin "CUDA on the CPU, all tests"
  TIMEPIPE_TEST_DEVICE=cuda TIMEPIPE_POOL=pass OMP_NUM_THREADS=1 \
    ctest --test-dir build/hostcuda -L hostcuda -j "$jobs" --output-on-failure
  begin "CUDA on the CPU, address sanitizer"
  sanitize_device hostcuda-asan
  begin "CUDA on the CPU, thread sanitizer"
  sanitize_device hostcuda-tsan
  begin "CUDA on the CPU, lines"
  tests/hostcuda/coverage.sh
  begin "made-up bytes"
  build fuzz
  tests/fuzz/run.sh 60
fi
begin tests
echo "== so far: $SECONDS s"
ctest --preset release -j "$jobs"
if [[ $mode == --long ]]; then
  begin "large tests"
  cmake --build build/release --target long_tests -j "$jobs"
  ctest --test-dir build/release -L long --output-on-failure
fi
