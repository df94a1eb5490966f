# Sourced by the tests beside it, which then work in a folder of their own; it
# is removed in the end, and a job that is still running killed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
configs=$root/configs
work=$(mktemp -d)
job=  # a process, or the first of a group
leave() {
  [ -z "$job" ] || kill -KILL -- "-$job" "$job" 2>/dev/null || true
  rm -rf "$work"
}
trap leave EXIT
cd "$work"

fail() { # fail TEXT [FILE]: what went wrong, and the file that shows it
  echo "FAILED: $1"
  [ $# -lt 2 ] || cat "$2"
  exit 1
}
# refused TEXT COMMAND...: it ends with status 1 and one line of timepipe's, which
# has this text. `out` keeps all that it prints.
refused() {
  local text=$1 status=0
  shift
  "$@" >out 2>&1 || status=$?
  [ "$status" -eq 1 ] || fail "status $status: $*" out
  [ "$(grep -c '^timepipe:' out)" -eq 1 ] || fail "not one line: $*" out
  grep '^timepipe: ' out | grep -qF -- "$text" || fail "no '$text' from: $*" out
}
# mistake TEXT COMMAND...: refused, and nothing else is printed.
mistake() {
  refused "$@"
  [ "$(grep -c '' out)" -eq 1 ] || fail "more than one line: ${*:2}" out
}
