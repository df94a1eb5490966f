#!/usr/bin/env bash
# version.sh TIMEPIPE VERSION CMAKE: the program says its version and commit, in
# a run's output and logs too; and the commit that is told is that of the folder.
source "$(dirname "$0")/common.sh"
timepipe=$1 version=$2 cmake=$3

"$timepipe" --version >out
grep -qE "^timepipe ${version//./\\.} \(commit [^ ]+\)\$" out || fail "form" out
[ "$(wc -l <out)" -eq 1 ] || fail "more than a line" out
"$timepipe" --version >/dev/full 2>err && fail "full disk"
grep -q '^timepipe: standard output: No space' err || fail "full disk" err

head -c 1500 "$(command -v bash)" | base64 -w0 >text
"$timepipe" train "$configs/demo.textproto" data.train=text run_dir=run \
  data.sequence_length=256 train.chunk_tokens=128 model.num_layers=1 \
  model.hidden_size=32 model.intermediate_size=48 model.num_heads=2 \
  data.held_out=0 eval.every=0 optimizer.steps=1 optimizer.warmup_steps=0 >log
head -n 1 log | cmp - out || fail "the run's first line" log
grep -qF "$(cat out)" run/logs/rank-00000.log ||
  fail "the rank's log" run/logs/rank-00000.log
echo "ok: $(cat out)"

# The commit of a folder: none, its own, one with changes, another folder's.
commit() { # FOLDER
  "$cmake" -D VERSION=1.2.3 -D SOURCE="$work/$1" -D OUT="$work/made.cc" \
    -P "$root/launcher/process/version.cmake" >err 2>&1 || fail cmake err
  sed -n 's/.*"timepipe 1\.2\.3 (commit \(.*\))".*/\1/p' made.cc
}
git=(git -C repository -c user.name=a -c user.email=a -c init.defaultBranch=a)
# An option or a command that there isn't is named, and where help is.
mistake 'no option --fast (see timepipe train --help)' \
  "$timepipe" train "$configs/demo.textproto" --fast
mistake 'no option -o (see timepipe data prepare --help)' \
  "$timepipe" data prepare text -o made
mistake 'no command evla (see timepipe --help)' "$timepipe" evla runs/a
mistake 'no command foo (see timepipe data --help)' "$timepipe" data foo
echo "ok: mistakes of the command line"

mkdir -p repository/below
[ "$(commit repository)" = unknown ] || fail "without git" made.cc
"${git[@]}" init -q
[ "$(commit repository)" = unknown ] || fail "without a commit" made.cc
echo 1 >repository/file
"${git[@]}" add file
"${git[@]}" commit -q -m 1
head=$("${git[@]}" rev-parse --short HEAD)
[ "$(commit repository)" = "$head" ] || fail "not $head" made.cc
before=$(stat -c %i.%y made.cc)
[ "$(commit repository)" = "$head" ]
[ "$(stat -c %i.%y made.cc)" = "$before" ] || fail "made again" made.cc
[ "$(commit repository/below)" = unknown ] || fail "another folder's" made.cc
GIT_DIR=$work/repository/.git
export GIT_DIR # as hooks have it
[ "$(commit repository/below)" = unknown ] || fail "another folder's" made.cc
unset GIT_DIR
echo 2 >repository/file
[ "$(commit repository)" = "$head-dirty" ] || fail "not dirty" made.cc
echo "ok: commits"
