#!/usr/bin/env bash
# Checks that every folder includes only what its layer may:
#   launcher -> models -> parallel -> kernels -> runtime
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folders=(launcher models parallel kernels runtime)
failed=0

# forbid RULE FOLDERS INCLUDE [EXCEPT]: no source in FOLDERS includes what
# matches INCLUDE, unless its path:line:text matches EXCEPT.
forbid() {
  local rule=$1 where=$2 include=$3 except=${4:-^$} found
  # shellcheck disable=SC2086  # where is a list of folders
  found=$(grep -rnE --include='*.h' --include='*.cc' \
    "^ *# *include *[<\"]$include" $where | grep -vE "$except" || true)
  [[ -z $found ]] && return
  printf 'layering: %s:\n%s\n' "$rule" "$found" >&2
  failed=1
}

left=tests
for folder in "${folders[@]}"; do
  forbid "$folder includes a folder to its left" "$folder" "($left)/"
  left+="|$folder"
done
all="${folders[*]} tests"
forbid "models see only the executor's interface" models parallel/ \
  '"parallel/(chunk_program|schedule)\.h"'
forbid "MPI is for communicators" "$all" 'mpi\.h' \
  '^parallel/[a-z_]*_communicator\.cc:'
forbid "the schema is for the launcher" "$all" '.*\.pb\.h' '^launcher/'
exit "$failed"
