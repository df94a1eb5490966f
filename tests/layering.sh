#!/usr/bin/env bash
# Checks that every folder includes only what its layer may:
#   launcher -> models -> parallel -> kernels -> runtime
# and every room of launcher/ only rooms of later lines of `rooms`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folders=(launcher models parallel kernels runtime)
rooms=(commands run checkpoint trainer "data generate bench" "tokenizer huggingface"
  config process)
readonly most_sources=24  # of a room
readonly most_lines=400   # of a file
failed=0

# forbid_text RULE FOLDERS PATTERN [EXCEPT]: no line of a source in FOLDERS
# matches PATTERN, unless its path:line:text matches EXCEPT.
forbid_text() {
  local rule=$1 where=$2 pattern=$3 except=${4:-^$} found
  # shellcheck disable=SC2086  # where is a list of folders
  found=$(grep -rnE --include='*.h' --include='*.cc' --include='*.cu' \
    --include='*.cuh' "$pattern" $where | grep -vE "$except" || true)
  [[ -z $found ]] && return
  printf 'layering: %s:\n%s\n' "$rule" "$found" >&2
  failed=1
}

# forbid RULE FOLDERS INCLUDE [EXCEPT]: no source in FOLDERS includes what
# matches INCLUDE.
forbid() {
  forbid_text "$1" "$2" "^ *# *include *[<\"]$3" "${@:4}"
}

left=tests
for folder in "${folders[@]}"; do
  forbid "$folder includes a folder to its left" "$folder" "($left)/"
  left+="|$folder"
done
all="${folders[*]} tests"
forbid "models see only the executor's interface" models parallel/ \
  '"parallel/(chunk_program|schedule)\.h"'
forbid "MPI is for its communicator and transport" "$all" 'mpi\.h' \
  '^parallel/mpi_[a-z]*\.(h|cc):'
forbid "elements are for kernels and transfers" "$all" \
  'runtime/elements\.h' \
  '^(kernels/.*|runtime/transfer\.cc|tests/runtime/memory_guard_test\.cc):[0-9]+:'
forbid "kernels/cpu is for the fronts of kernels" \
  "launcher models parallel runtime tests kernels/cuda" kernels/cpu/ \
  '^tests/.*"kernels/cpu/elementary\.h"'
forbid "kernels/cuda is for the fronts of kernels" \
  "launcher models parallel runtime kernels/cpu" kernels/cuda/
forbid "CUDA is for its kernels and streams" \
  "launcher models parallel kernels runtime" \
  '(cuda|cublas|nvtx3|nccl|hostcuda)[_a-z0-9/]*.*\.h' \
  '^(kernels/cuda|runtime/cuda)/|"(kernels|runtime)/cuda/'
forbid_text "bytes of tensors are for transports" \
  "launcher models kernels runtime" '\<TransportBytes\>' \
  '^runtime/transfer\.(h|cc):'
forbid "the schema is for the reader of configurations" "$all" '.*\.pb\.h' \
  '^launcher/config/|^tests/'

above=()
for line in "${rooms[@]}"; do
  for room in $line; do
    for other in "${above[@]}" $line; do
      [[ $other == "$room" ]] ||
        forbid "launcher/$room includes a room above or beside it" \
          "launcher/$room" "launcher/$other/"
    done
    sources=$(find "launcher/$room" -name '*.cc' | wc -l)
    if ((sources > most_sources)); then
      echo "layering: launcher/$room: $sources sources, at most $most_sources" >&2
      failed=1
    fi
  done
  # shellcheck disable=SC2206  # line is a list of rooms
  above+=($line)
done
while read -r lines path; do
  echo "layering: $path: $lines lines, at most $most_lines" >&2
  failed=1
done < <(find "${folders[@]}" tests bench -type f -name '*.[chs][ch]' -o \
  -type f -name '*.[ch]' -o -type f -name '*.cu' -o -type f -name '*.cuh' | xargs wc -l |
  awk -v most="$most_lines" '$2 != "total" && $1 > most')
known=" ${rooms[*]} "
for path in launcher/*; do
  name=${path#launcher/}
  case $name in
    main.cc | CMakeLists.txt | cuda-toolkit.txt | *.sh) continue ;;
  esac
  [[ -d $path && $known == *" $name "* ]] && continue
  echo "layering: $path: expected main.cc, scripts and the rooms$known" >&2
  failed=1
done
exit "$failed"
