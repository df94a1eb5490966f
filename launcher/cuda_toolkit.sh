#!/usr/bin/env bash
# cuda_toolkit.sh PATH: leaves a CUDA toolkit of release 13.0 or newer, with
# cuBLAS, at PATH: a link to one that is installed (in CUDA_HOME, where nvcc on
# PATH lies, in /usr/local/cuda), else a folder made of PyPI's packages that
# cuda-toolkit.txt beside this script names, with their sums. Quick if it is
# there. PATH is never seen half made.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
packages=$here/cuda-toolkit.txt
toolkit=$1
part=$toolkit.part

# complete FOLDER: it holds all that a build takes.
complete() {
  local lib release
  [[ -x $1/bin/nvcc && -f $1/include/cublas_v2.h ]] || return 1
  for lib in "$1"/{lib64,lib,targets/x86_64-linux/lib} ""; do
    [[ -f $lib/libcudart_static.a && -e $lib/libcublas.so ]] && break
  done
  [[ -n $lib ]] || return 1
  release=$("$1/bin/nvcc" --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
  ((${release:-0} >= 13))
}

installed() {
  local nvcc folder
  nvcc=$(command -v nvcc || true)
  for folder in "${CUDA_HOME:-}" \
    "${nvcc:+$(dirname "$(dirname "$(readlink -f "$nvcc")")")}" /usr/local/cuda; do
    [[ -n $folder ]] || continue
    [[ -L $toolkit || ! $folder -ef $toolkit ]] || continue
    if complete "$folder"; then
      realpath "$folder"
      return
    fi
  done
  return 1
}

fail() {
  rm -rf "$part"
  echo "cuda_toolkit.sh: no nvcc: $1" >&2
  exit 1
}

mkdir -p "$(dirname "$toolkit")"
exec {lock}>"$toolkit.lock"
flock "$lock"

cmp -s "$packages" "$toolkit/packages.txt" && exit
if folder=$(installed); then
  [[ $(readlink "$toolkit" || true) != "$folder" ]] || exit 0
  echo "cuda_toolkit.sh: using $folder"
  rm -rf "$toolkit"
  ln -s "$folder" "$toolkit"
  exit
fi

[[ $(uname -m) == x86_64 ]] ||
  fail "install CUDA 13.0, its packages are known for x86-64 only"
echo "cuda_toolkit.sh: fetching CUDA 13.0: 0.7 GB, 1.1 GB in $toolkit"
rm -rf "$part"
# Debian's own Python, whatever else PATH names.
/usr/bin/python3 -m pip --version >/dev/null 2>&1 || "$here/setup.sh" python3-pip
log=$(/usr/bin/python3 -m pip install -q --disable-pip-version-check \
  --root-user-action=ignore --no-cache-dir --no-deps --only-binary :all: \
  --require-hashes --target "$part/packages" -r "$packages" 2>&1) ||
  fail "$(grep -m 1 ^ERROR <<<"$log" || tail -n 1 <<<"$log")"

# One tree, as NVIDIA's installer lays it: the packages differ in where they lie
# and leave out the names that linkers look for.
mv "$part/packages/nvidia/cu13" "$part/toolkit"
cp -r "$part"/packages/nvidia/nccl/{include,lib} "$part/toolkit/"
ln -s lib "$part/toolkit/lib64"
for library in "$part"/toolkit/lib/lib*.so.*; do
  name=${library##*/}
  ln -s "$name" "$part/toolkit/lib/${name%%.so.*}.so"
done
cp "$packages" "$part/toolkit/packages.txt"
complete "$part/toolkit" || fail "the packages make no whole toolkit"
rm -rf "$toolkit"
mv -T "$part/toolkit" "$toolkit"
rm -rf "$part"
echo "cuda_toolkit.sh: made in $SECONDS s"
