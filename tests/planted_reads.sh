#!/usr/bin/env bash
# tests/planted_reads.sh COMPILER OPTION...: that no source outside kernels/ can
# reach the memory of a tensor. Compiles, for each folder, a source that sees all
# of its headers: once with such reads, each of which must be an error, and once
# with a transfer, which must not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

# A read and the error that it is.
reads=(
  't.data<float>()' "no member named 'data'"
  't.bytes()' "no member named 'bytes'"
  't.data_' "'?(std::byte\* timepipe::Tensor::)?data_' is a? ?private"
  'ElementsAccess::memory(t)' "'?ElementsAccess'"
  'elements<float>(t)' "'elements'"
)
directory=$(mktemp -d)
trap 'rm -r "$directory"' EXIT
failed=0

# compile NAME FOLDER: what stdin does with ctx and t, a context and a tensor,
# and the lines of what the compiler says of it, in NAME.log.
compile() {
  local name=$1 folder=$2
  {
    echo '#include "runtime/transfer.h"'
    # Those of MPI have no tensors, and need its headers.
    find "$folder" -name '*.h' ! -name 'mpi_*' -printf '#include "%p"\n' | sort
    echo 'namespace timepipe {'
    echo 'void planted(Context& ctx, Tensor& t) {'
    echo '#line 1'
    cat
    echo '}  // namespace timepipe'
  } >"$directory/$name.cc"
  "${compiler[@]}" -I. -fsyntax-only "$directory/$name.cc" \
    2>"$directory/$name.log"
}

compiler=("$@")
for folder in models parallel launcher; do
  if ! compile control "$folder" <<'EOF'; then
float first = 0;
download(ctx, t.reshape({t.numel()}).slice(0, 1), std::span(&first, 1)); }
EOF
    echo "planted_reads: $folder: a transfer doesn't compile:" >&2
    head -20 "$directory/control.log" >&2
    exit 1
  fi
  if {
    for ((i = 0; i < ${#reads[@]}; i += 2)); do echo "(void)${reads[i]};"; done
    echo '(void)ctx; }'
  } | compile planted "$folder"; then
    echo "planted_reads: $folder: reads of tensors compile" >&2
    failed=1
  fi
  for ((i = 0; i < ${#reads[@]}; i += 2)); do
    grep -qE "^[^ ]*planted\.cc:$((i / 2 + 1)):[0-9]+: error: .*${reads[i + 1]}" \
      "$directory/planted.log" && continue
    echo "planted_reads: $folder: ${reads[i]}: expected an error with" \
      "${reads[i + 1]}" >&2
    failed=1
  done
done
exit "$failed"
