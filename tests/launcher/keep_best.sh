#!/usr/bin/env bash
# keep_best.sh TIMEPIPE MPIEXEC: the checkpoints with the lowest held-out loss
# stay; an evaluation that a signal left out is made when the run goes on; one
# that isn't finite ends the run.
source "$(dirname "$0")/common.sh"
timepipe=$1 mpiexec=$2

awk 'BEGIN {
  for (x = 7; i < 9000; ++i) {
    x = x * 16807 % 2147483647
    printf "%d%c", (x % 97) ^ 2, 97 + x % 26
  }
}' >text
# The learning rate becomes far too high: the loss falls, then rises.
run=(train "$configs/demo.textproto" data.train=text data.held_out=0.2
  data.sequence_length=512 train.chunk_tokens=256 model.hidden_size=32
  model.intermediate_size=32 optimizer.steps=12 optimizer.warmup_steps=11
  optimizer.init_lr=1e-3 optimizer.lr=4 optimizer.clip_norm=0 eval.every=2
  checkpoint.keep_last=1 checkpoint.keep_best=2)

losses() { # losses RUN_DIR: step and held-out loss of each evaluation
  sed -nE 's/.*"step":([0-9]+),"held_out_loss":([0-9.]+),.*/\1 \2/p' \
    "$1/metrics.jsonl"
}
steps_in() { # steps_in RUN_DIR: those of its checkpoints
  for folder in "$1"/checkpoints/step-*; do echo $((10#${folder##*-})); done
}

"$timepipe" "${run[@]}" run_dir=whole >out 2>&1 || fail "a run" out
losses whole >losses
[ "$(wc -l <losses)" -eq 6 ] || fail "not six evaluations" whole/metrics.jsonl
best=$(sort -k2g -k1n losses | head -n 2 | cut -d' ' -f1)
grep -qx 12 <<<"$best" && fail "the last step is one of the best" losses
cmp <(sort -n <<<"$best"; echo 12) <(steps_in whole) ||
  fail "not the two best and the last" losses
"$timepipe" checkpoint list whole >out || fail "list" out
first=$(head -n 1 <<<"$best")
grep -qE "step $first  .*  held-out loss [0-9.]+  ok  best$" out ||
  fail "the best isn't marked" out
[ "$(grep -c 'best$' out)" -eq 1 ] || fail "more than one is best" out
echo "ok: kept: $(steps_in whole | tr '\n' ' ')"

# On two ranks the same.
"$mpiexec" -n 2 "$timepipe" "${run[@]}" run_dir=two parallel.time=2 >out 2>&1 ||
  fail "two ranks" out
cmp <(steps_in whole) <(steps_in two) || fail "two ranks keep others"
cmp losses <(losses two) || fail "other losses on two ranks"

# As if a signal had come after the last step: its evaluation is made again, and
# nothing else.
manifest=whole/checkpoints/step-000012/manifest.json
cp "$manifest" manifest
sed -i '/held_out_loss/d' "$manifest"
cmp -s "$manifest" manifest && fail "no loss in the manifest" manifest
"$timepipe" "${run[@]}" run_dir=whole >out 2>&1 || fail "gone on" out
grep -q '^step 12: held-out loss ' out || fail "not evaluated" out
cmp "$manifest" manifest || fail "another manifest"
cmp losses <(losses whole) || fail "other evaluations" whole/metrics.jsonl
"$timepipe" "${run[@]}" run_dir=whole >out 2>&1 || fail "once more" out
grep -q 'held-out loss' out && fail "evaluated once more" out

# A signal wherever it comes: the same evaluations in the end.
for step in 1 2 3; do
  "$timepipe" "${run[@]}" run_dir=stopped >out 2>&1 &
  job=$!
  until grep -q "^step $((4 * step - 1))/" out || ! kill -0 "$job" 2>/dev/null; do
    read -rt 0.005 <> <(:) || true
  done
  kill -TERM "$job" 2>/dev/null || true
  wait "$job" || true
  job=
done
"$timepipe" "${run[@]}" run_dir=stopped >out 2>&1 || fail "the rest" out
cmp losses <(losses stopped) || fail "other evaluations after signals" out
cmp <(steps_in whole) <(steps_in stopped) || fail "others kept after signals"
echo "ok: no evaluation lost or made twice"

refused "step 1: held-out loss nan, expected a finite number" \
  "$timepipe" "${run[@]}" run_dir=wild eval.every=1 optimizer.lr=1e30 \
  optimizer.warmup_steps=0 optimizer.init_lr=0
mistake "checkpoint.keep_best: 2, expected 0 without eval.every and run_dir" \
  "$timepipe" "${run[@]}" eval.every=0 run_dir=none
echo ok
