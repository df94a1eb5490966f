#!/usr/bin/env bash
# no_label.sh TIMEPIPE: texts whose tokens have no label. A run that could learn
# nothing at all is refused before its first step; a step that can't says so,
# has no loss and leaves the weights as they were.
source "$(dirname "$0")/common.sh"
timepipe=$1
run=(train "$configs/demo.textproto" data.held_out=0 data.sequence_length=32
  train.chunk_tokens=16 model.hidden_size=32 model.intermediate_size=48
  optimizer.steps=21 optimizer.warmup_steps=0 data.bos_id=10 data.seed=1)
wrong() { mistake "$1" "$timepipe" "${run[@]}" "${@:2}"; }

printf '\n%.0s' {1..300} >blank
for ((i = 0; i < 200; ++i)); do echo '{"text": "a"}'; done >short.jsonl
"$timepipe" data prepare short.jsonl --out short.safetensors >out ||
  fail prepare
no='has a label, expected one at least'
wrong "data.train: short.safetensors: no token of 100 window(s) $no" \
  data.train=short.safetensors data.documents=reset
wrong "data.train: blank: no token of 150 window(s) $no" \
  data.train=blank data.documents=carry
wrong "data.train: blank: no token of 9 window(s) $no" \
  data.train=blank data.loss=jax
echo "ok: nothing to learn from is refused"

# An epoch of 21 windows: one document with labels, of which none is in others.
{
  printf '\n%.0s' {1..20}
  printf '\nabcdefghijklmnopqrst'
  printf '\n%.0s' {1..20}
} >rare
run+=(data.train=rare data.documents=reset)
"$timepipe" "${run[@]}" run_dir=whole >out 2>&1 || fail "a rare label" out
[ "$(grep -c '"loss":null,"grad_norm":0.0,"finite":true' whole/metrics.jsonl)" \
  -eq 20 ] || fail "steps without a label" whole/metrics.jsonl
[ "$(grep -cE '"loss":[1-9]' whole/metrics.jsonl)" -eq 1 ] ||
  fail "the step with labels" whole/metrics.jsonl
[ "$(grep -o '"digest":"[0-9a-f]*"' whole/metrics.jsonl | sort -u | wc -l)" -eq 2 ] ||
  fail "more than one step changed the weights" whole/metrics.jsonl
[ "$(grep -c 'no loss (no token has a label: no update)' out)" -eq 20 ] ||
  fail "what the lines say" out
grep -q '"updates": 1,' whole/checkpoints/step-000021/manifest.json ||
  fail "updates" whole/checkpoints/step-000021/manifest.json
echo "ok: steps without a label change nothing"
