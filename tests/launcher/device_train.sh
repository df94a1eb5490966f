#!/usr/bin/env bash
# Commands on a CUDA device, from training to text:
#   device_train.sh TIMEPIPE
source "$(dirname "$0")/common.sh"
timepipe=$1

head -c 20000 "$timepipe" | base64 -w0 >text
run=(train "$configs/demo.textproto" data.train=text data.sequence_length=128
  data.held_out=0.2 train.chunk_tokens=64 model.hidden_size=32
  model.num_heads=2 model.intermediate_size=48 model.num_layers=1
  optimizer.warmup_steps=0 optimizer.steps=4 checkpoint.every=2 eval.every=2
  eval.sequences=1)
"$timepipe" "${run[@]}" device=cuda run_dir=cuda >out 2>&1 || fail "train" out
grep -q '^device: cuda:0 (.* GiB)$' out || fail "no device" out
grep -q 'device: cuda:0 (' cuda/logs/rank-00000.log ||
  fail "no device in the log" cuda/logs/rank-00000.log
grep -q '^device: "cuda"$' cuda/config.textproto ||
  fail "no device in the configuration" cuda/config.textproto
digest=$(grep '^final digest' out)

# The same bits again, whatever the order of a device's threads and streams.
for kind in train.dtype=f32 train.dtype=bf16 model.layer=mlp; do
  bits=
  for order in 0:inline 1:inline 2:inline 3:threads 4:threads 0:protected; do
    rm -rf again
    TIMEPIPE_HOSTCUDA_SEED=${order%:*} TIMEPIPE_HOSTCUDA_STREAMS=${order#*:} \
      "$timepipe" "${run[@]}" device=cuda:0 run_dir=again "$kind" >out 2>&1 ||
      fail "train, $kind, $order" out
    bits=${bits:-$(grep '^final digest' out)}
    [ "$(grep '^final digest' out)" = "$bits" ] ||
      fail "other bits: $kind, $order; $bits" out
  done
  [ $kind != train.dtype=f32 ] || [ "$bits" = "$digest" ] || fail "other bits" out
done

# From a step in the middle, there and elsewhere.
rm -r cuda/checkpoints/step-000004
cp -r cuda moved
"$timepipe" "${run[@]}" device=cuda run_dir=cuda >out 2>&1 || fail "resume" out
[ "$(grep '^final digest' out)" = "$digest" ] || fail "other bits" out
grep -q 'goes on from what was computed' out && fail "not another device" out
"$timepipe" "${run[@]}" device=cpu run_dir=moved >out 2>&1 || fail "move" out
grep -q 'device: cpu goes on from what was computed on cuda' out ||
  fail "not told that the device is another" out

close() { # close TEXT TEXT: as numbers, to f32's accuracy
  awk -v a="$1" -v b="$2" 'BEGIN { exit !((a - b) ^ 2 <= (1e-4 * b) ^ 2) }'
}
loss_of() { sed -nE 's/.*loss ([0-9.]+)[ ,].*/\1/p' "$1" | tail -n 1; }
for device in cpu cuda; do
  "$timepipe" eval cuda --data text --device $device --max-tokens 300 \
    >eval-$device 2>&1 || fail "eval" eval-$device
  head -c 100 text >short.txt
  "$timepipe" score cuda --tokens short.txt --logits logits --device $device \
    >score-$device 2>&1 || fail "score" score-$device
  "$timepipe" generate cuda --prompt 'In the' --max-new-tokens 20 --greedy \
    --device $device --state-out state-$device >text-$device 2>err ||
    fail "generate" err
done
for command in eval score; do
  close "$(loss_of $command-cuda)" "$(loss_of $command-cpu)" ||
    fail "$command: another loss" $command-cuda
done
cmp text-cuda text-cpu || fail "generate: another text" text-cuda
"$timepipe" generate cuda --state-in state-cuda --prompt 'a' --device cpu \
  --max-new-tokens 1 >out 2>&1 || fail "the state of a device" out
mistake '--device: gpu, expected cpu, cuda, cuda:N' \
  "$timepipe" eval cuda --data text --device gpu
"$timepipe" plan "${run[@]:1}" device=cuda run_dir=plan >out 2>&1 || fail "plan" out
grep -qE '^here: .* available .*GiB of cuda:0' out || fail "what is free" out

# More than a device has.
refused 'device of rank 0 need' env TIMEPIPE_HOSTCUDA_MEMORY=1100000000 \
  "$timepipe" "${run[@]}" device=cuda run_dir=huge model.hidden_size=4096 \
  model.num_heads=64 model.intermediate_size=8192
echo ok
