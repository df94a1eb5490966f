# What the scripts share that train, with this commit's program or also with that
# of another commit. They are at the root of the repository when they source it.
#   now     this one's program, TIMEPIPE or the release build's
#   work    a folder of the run, removed at its end, with $work/text.txt
# shellcheck shell=bash
script=$(basename "$0")
now=${TIMEPIPE:-$PWD/build/release/bin/timepipe}
fail() { # fail TEXT [LOG]: with the log's end
  echo "$script: $1" >&2
  [ $# -lt 2 ] || tail -n 20 "$2" >&2
  exit 2
}
[ -x "$now" ] || fail "$now: missing, expected a release build"
mkdir -p build
work=$(mktemp -d "$PWD/build/${script%.sh}.XXXXXX")
trap 'git worktree remove --force "$work/before" 2>/dev/null || true; rm -rf "$work"' EXIT

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none
# So that ccache knows again what it compiled here.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$PWD} CCACHE_NOHASHDIR=1

# 200,000 bytes of words in lines of different lengths: the minimal standard
# generator, exact in awk's numbers.
awk 'BEGIN {
  x = 7
  while (bytes < 200000) {
    words = next_number() % 40 + 1
    for (w = 0; w < words; ++w) {
      letters = next_number() % 7 + 1
      for (l = 0; l < letters; ++l) {
        printf "%c", 97 + next_number() % 13 + next_number() % 14
      }
      printf w + 1 < words ? " " : "\n"
      bytes += letters + 1
    }
  }
}
function next_number() { return x = x * 16807 % 2147483647 }' >"$work/text.txt"

# build_before COMMIT: builds it; sets before, its program.
build_before() {
  local commit=$1 hash
  hash=$(git rev-parse --verify --quiet "$commit^{commit}") ||
    fail "${commit:-nothing}, expected a commit"
  git worktree add --quiet --detach "$work/before" "$hash"
  (cd "$work/before" && cmake --preset release -DTIMEPIPE_BUILD_TESTS=OFF &&
    cmake --build build/release --target timepipe) >"$work/build.log" 2>&1 ||
    fail "$commit doesn't build" "$work/build.log"
  # shellcheck disable=SC2034 # scripts use it
  before=$work/before/build/release/bin/timepipe
}

# train PROGRAM RANKS CONFIG [OVERRIDE...]: leaves $work/run/metrics.jsonl.
train() {
  local program=$1 ranks=$2 start=()
  shift 2
  rm -rf "$work/run"
  [ "$ranks" = 1 ] || start=(mpirun -n "$ranks")
  "${start[@]}" "$program" train "$@" data.train="$work/text.txt" \
    run_dir="$work/run" >"$work/log" 2>&1 </dev/null ||
    fail "$program didn't train" "$work/log"
}
