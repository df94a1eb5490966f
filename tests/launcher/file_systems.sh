#!/usr/bin/env bash
# Folders on file systems that have no locks (Lustre, NFS) or can't sync a folder
# (CIFS, some of FUSE):  file_systems.sh TIMEPIPE PRELOADED
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
echo ok
