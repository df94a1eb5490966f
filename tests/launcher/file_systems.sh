#!/usr/bin/env bash
# Folders on file systems that have no locks (Lustre, NFS) or can't sync a folder
# (CIFS, some of FUSE), or that are full for a while:  file_systems.sh TIMEPIPE PRELOADED
source "$(dirname "$0")/common.sh"
timepipe=$1 preloaded=$2

head -c 9000 "$timepipe" | base64 -w0 >text
run=("$timepipe" train "$configs/demo.textproto" data.train=text
  data.sequence_length=512 train.chunk_tokens=256 model.hidden_size=32
  model.intermediate_size=32 optimizer.steps=2 optimizer.warmup_steps=1
  checkpoint.every=1)
for error in 38 37 95; do  # ENOSYS, ENOLCK, EOPNOTSUPP
  NO_LOCKS=$error LD_PRELOAD=$preloaded "${run[@]}" run_dir="run$error" \
    >out 2>&1 || fail "flock gives $error"
  grep -q "timepipe: run$error/lock: this file system has no locks" out ||
    fail "no warning, flock gives $error"
done
NO_LOCKS=5 LD_PRELOAD=$preloaded "${run[@]}" run_dir=run5 >out 2>&1 &&
  fail "flock gives EIO"
grep -q 'run5/lock: Input/output error' out || fail "EIO isn't told"
for error in 22 95 9; do  # EINVAL, EOPNOTSUPP, EBADF
  NO_FOLDER_SYNC=$error LD_PRELOAD=$preloaded "${run[@]}" run_dir="sync$error" \
    >out 2>&1 || fail "fsync of a folder gives $error"
  "$timepipe" checkpoint verify "sync$error" >out 2>&1 || fail "not whole"
done
NO_FOLDER_SYNC=5 LD_PRELOAD=$preloaded "${run[@]}" run_dir=sync5 >out 2>&1 &&
  fail "fsync of a folder gives EIO"
NO_FOLDER_SYNC=22 LD_PRELOAD=$preloaded "$timepipe" data prepare text \
  --out tokens.safetensors >out 2>&1 || fail "data prepare"

# A full disk for metrics.jsonl: its lines wait, whole, and come in their order.
metrics() { # metrics NAME FULL_FROM FULL_TO: a run of eight steps
  FULL_FROM=$2 FULL_TO=$3 LD_PRELOAD=$preloaded "${run[@]}" run_dir="$1" \
    optimizer.steps=8 >out 2>&1 || fail "$1: the run ended" out
  grep -o '"step":[0-9]*\|"digest":"[0-9a-f]*"' "$1/metrics.jsonl" >"$1.lines"
}
full='timepipe: [a-z]*/metrics.jsonl: No space left on device; the run goes on'
metrics room 0 0
! grep -q 'timepipe: ' out || fail "with room: a warning" out
metrics later 3 6  # steps 3, 4 and 5
[ "$(grep -c "^$full" out)" -eq 1 ] || fail "not told once" out
grep -qx 'timepipe: later/metrics.jsonl: 4 line(s) that waited are written' \
  out || fail "not told that there is room" out
cmp room.lines later.lines || fail "other lines" later/metrics.jsonl
metrics last 7 9  # room comes at the end
grep -qx 'timepipe: last/metrics.jsonl: 2 line(s) that waited are written' \
  out || fail "not told at the end" out
cmp room.lines last.lines || fail "other lines" last/metrics.jsonl
metrics never 3 1000
[ "$(grep -c "^$full" out)" -eq 1 ] || fail "not told once" out
grep -q 'never/metrics.jsonl: 6 line(s) can.t be written and are lost: No sp' \
  out || fail "not told what is lost" out
head -n 4 room.lines | cmp - never.lines || fail "lines" never/metrics.jsonl
[ "$(tail -c 1 never/metrics.jsonl | od -An -c | tr -d ' ')" = '\n' ] ||
  fail "a torn line" never/metrics.jsonl
"$timepipe" checkpoint diff room never >out 2>&1 || fail "other weights" out

# Nor does a run need its log.
mkdir -p log/logs none
ln -s /dev/full log/logs/rank-00000.log
touch none/logs
for name in log none; do
  "${run[@]}" run_dir=$name >out 2>&1 || fail "a log that can't be written" out
  "$timepipe" checkpoint verify $name >verify 2>&1 || fail "not whole" verify
done
grep -qx 'timepipe: none/logs/rank-00000.log: .*; the run goes on without this log' \
  out || fail "not told that there is no log" out
echo ok
