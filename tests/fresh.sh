#!/usr/bin/env bash
# fresh.sh [COMMAND...]: runs the README's two commands, or COMMAND, as on a
# fresh Debian 12 machine: in a new chroot that has nothing but a clone of the
# last commit. Needs root, debootstrap, and 6 GB below TMPDIR. Shows the time of
# each command; the chroot is gone afterwards.
#   tests/fresh.sh
#   tests/fresh.sh 'bash launcher/demo.sh'
# MIRROR may name the Debian mirror to install from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ((EUID != 0)) || ! command -v debootstrap >/dev/null; then
  echo "fresh.sh: needs root and the package debootstrap" >&2
  exit 1
fi
commands=("$@")
((${#commands[@]})) ||
  commands=('bash launcher/demo.sh' 'bash tests/check.sh')

root=$(mktemp -d --suffix=.timepipe-fresh)
mounted=()
leave() {
  for ((i = ${#mounted[@]} - 1; i >= 0; --i)); do
    umount -l "${mounted[i]}"
  done
  # Never a tree in which something of this machine is still mounted.
  grep -qF " $root/" /proc/mounts || rm -rf --one-file-system "$root"
}
trap leave EXIT

echo "== debootstrap"
debootstrap --variant=minbase bookworm "$root" ${MIRROR:+"$MIRROR"} >"$root.log" ||
  { tail -n 20 "$root.log" >&2; exit 1; }
rm -f "$root.log"
attach() {  # attach TARGET mount-arguments...
  local target=$root/$1
  mkdir -p "$target"
  mount "${@:2}" "$target"
  mounted+=("$target")
}
attach proc -t proc proc
attach sys -t sysfs -o ro sysfs
attach dev --rbind /dev
mount --make-rslave "$root/dev"
attach dev/shm -t tmpfs tmpfs
cp /etc/resolv.conf "$root/etc/resolv.conf"
git clone -q --no-hardlinks . "$root/timepipe"
rm -rf "$root/timepipe/.git/refs/remotes"

for command in "${commands[@]}"; do
  echo "== $command"
  began=$SECONDS
  env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    chroot "$root" bash -c "cd /timepipe && $command" || {
    echo "fresh.sh: FAILED after $((SECONDS - began)) s: $command" >&2
    exit 1
  }
  echo "== ok, $((SECONDS - began)) s: $command"
done
