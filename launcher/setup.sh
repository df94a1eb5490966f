#!/usr/bin/env bash
# setup.sh [--cuda] [PACKAGE...]: installs the Debian packages that are missing
# for building, testing and the demonstration, and those that are named. Quick,
# and without rights, if none is. --cuda: leaves a CUDA toolkit at
# build/cuda-toolkit, too (cuda_toolkit.sh).
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
then=(true)
if [[ ${1:-} == --cuda ]]; then
  shift
  then=("$here/cuda_toolkit.sh" "$(dirname "$here")/build/cuda-toolkit")
fi

for argument in "$@"; do
  if [[ $argument == -* ]]; then
    echo "setup.sh: $argument, expected --cuda first, then names of packages" >&2
    exit 2
  fi
done

packages=(
  g++ cmake ninja-build ccache pkg-config git      # build
  openmpi-bin libopenmpi-dev                       # ranks
  libdnnl-dev libxxhash-dev                        # products, checksums
  protobuf-compiler libprotobuf-dev                # configuration
  libsentencepiece-dev sentencepiece                # tokenizers, their training
  libcli11-dev libgoogle-glog-dev nlohmann-json3-dev
  libgtest-dev libgmock-dev clang-format clang-tidy  # tests
  procps diffutils
  bible-kjv                                        # the demonstration's text
  "$@"
)

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | grep '^installed ')
missing=()
for package in "${packages[@]}"; do
  grep -qxF "installed $package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exec "${then[@]}"
fi

echo "setup.sh: installing ${missing[*]}; a minute or two"
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup.sh: neither root nor sudo; have somebody run, as root:" >&2
    echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# What apt-get says is shown if it fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" \
    >"$log" 2>&1
}
install=(install --no-install-recommends "${missing[@]}")

# The lists of packages are fetched only if they are missing or out of date.
compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || apt update ||
  cat "$log" >&2
apt "${install[@]}" || { apt update && apt "${install[@]}"; } || {
  cat "$log" >&2
  echo "setup.sh: apt-get could not install ${missing[*]}" >&2
  exit 1
}
echo "setup.sh: installed in $SECONDS s"
"${then[@]}"
