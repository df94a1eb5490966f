#!/usr/bin/env bash
# What a run leaves to be read: metrics.jsonl, the configuration of the last
# start, digests in every log:  metrics.sh TIMEPIPE MPIRUN
source "$(dirname "$0")/common.sh"
timepipe=$1 mpirun=$2

head -c 60000 "$timepipe" | base64 -w0 >text
run=(train "$configs/demo.textproto" data.train=text data.held_out=0.2
  data.sequence_length=512 train.chunk_tokens=256 model.hidden_size=32
  model.intermediate_size=32 optimizer.steps=4 optimizer.warmup_steps=1
  eval.every=2 eval.sequences=3 run_dir=run checkpoint.every=2)
"$mpirun" -n 1 "$timepipe" "${run[@]}" >out 2>&1 || fail "a run" out
# What is read: each file with its tokens, the first five by name.
grep -qx 'data:  1 file(s), 80000 tokens: text (80000)' out || fail "no data" out
for file in 1 2 3 4 5 6 7; do head -c $((file * 1000)) text >part$file; done
"$timepipe" "${run[@]/=text/=part[1-7]}" run_dir= eval.every=0 \
  checkpoint.every=0 optimizer.steps=1 optimizer.warmup_steps=0 \
  data.held_out=0 >many 2>&1 ||
  fail "seven files" many
grep -qx 'data:  7 file(s), 28000 tokens: part1 (1000), part2 (2000), part3 (3000), part4 (4000), part5 (5000) and 2 more' \
  many || fail "not the seven files" many
for step in 1 2 3 4; do
  grep -qE "^step $step/4 .* digest [0-9a-f]{16}" out || fail "step $step" out
  grep -qE "step $step: loss .*, digest [0-9a-f]{16}" run/logs/rank-00000.log ||
    fail "step $step isn't in the log" run/logs/rank-00000.log
done
time='"time":"20[0-9-]*T[0-9:]*Z"'
[ "$(grep -c "\"loss\":.*$time" run/metrics.jsonl)" -eq 4 ] ||
  fail "not a line for each step" run/metrics.jsonl
place='"tokens_seen":[0-9]*,"epoch":[0-9.]*'
for step in 2 4; do
  grep -q "^{\"step\":$step,\"held_out_loss\":[0-9.]*,$place,$time}$" \
    run/metrics.jsonl || fail "no evaluation of step $step" run/metrics.jsonl
  loss=$(sed -nE "s/^step $step: held-out loss ([0-9]\.[0-9]{4}).*/\1/p" out)
  grep -q "\"step\":$step,\"held_out_loss\":$loss" run/metrics.jsonl ||
    fail "another loss than the printed one" run/metrics.jsonl
done
# 124 windows of 512 in the 64000 tokens that are trained on.
epochs=("" 0.008064 0.016129 0.024193 0.032258)
for step in 1 2 3 4; do
  grep -q "\"step\":$step,\"loss\".*,\"tokens_seen\":$((512 * step)),\"epoch\":${epochs[step]}" \
    run/metrics.jsonl || fail "place of step $step" run/metrics.jsonl
  grep -q "step $step: loss .*, $((512 * step)) tokens seen, epoch 0.0" \
    run/logs/rank-00000.log || fail "place in the log" run/logs/rank-00000.log
done
places() { grep -oE "\"step\":[0-9]*|$place" run/metrics.jsonl; }
places >before

# Done again from step 2: its evaluation stays, that of step 4 is made again.
rm -r run/checkpoints/step-000004
"$timepipe" "${run[@]}" optimizer.steps=4 checkpoint.keep_last=7 >out 2>&1 ||
  fail "resumed" out
[ "$(grep -c held_out_loss run/metrics.jsonl)" -eq 2 ] ||
  fail "not two evaluations" run/metrics.jsonl
places | cmp - before || fail "another place when resumed" run/metrics.jsonl
grep -q 'keep_last: 7' run/config.textproto ||
  fail "not the configuration of the last start" run/config.textproto
"$timepipe" "${run[@]}" model.num_layers=1 >out 2>&1 && fail "another model" out
grep -q 'keep_last: 7' run/config.textproto ||
  fail "the configuration of a refused start" run/config.textproto
echo ok
