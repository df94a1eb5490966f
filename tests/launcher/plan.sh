#!/usr/bin/env bash
# timepipe plan, and what train does with a plan that can't fit:
#   plan.sh TIMEPIPE
source "$(dirname "$0")/common.sh"
timepipe=$1

# A configuration without data, whose million tokens no small machine holds.
long=("$configs/ttt-350m-linear-mamba.textproto" data.sequence_length=1048576
  data.batch=1)
"$timepipe" plan "${long[@]}" >out 2>&1 || fail "plan" out
grep -q '^memory: 34\.[0-9]* GiB per rank: .*borders 26\.57 GiB' out ||
  fail "no plan" out
grep -q '^\* *256 *4096 ' out || fail "its own chunks aren't marked" out
grep -qE '^ *4096 *256 +15\.[0-9]+ GiB' out || fail "no other chunks" out
"$timepipe" plan "${long[@]}" --ranks 8 >out 2>&1 || fail "8 ranks" out
grep -q 'over 8 time x 1 data' out || fail "not of 8 ranks" out
"$timepipe" plan "${long[@]}" parallel.data=1 --ranks 0 >out 2>&1 && fail "0 ranks"
"$timepipe" plan "$configs/demo.textproto" data.batch=3 parallel.data=3 \
  --ranks 4 >out 2>&1 && fail "4 ranks in groups of 3"
grep -q -- '--ranks: 4, expected a multiple of parallel.data = 3' out ||
  fail "no line about groups" out
# The time grows with the layers, not with their square.
timeout 60 "$timepipe" plan "$configs/demo.textproto" model.num_layers=5000 \
  >out 2>&1 || fail "5000 layers" out
grep -q ' 5000 layers of width' out || fail "not of 5000 layers" out

# More than any machine has: refused before it is taken, with what to change.
head -c 20000 "$timepipe" | base64 -w0 >text
huge=(train "$configs/demo.textproto" data.train=text data.sequence_length=1024
  train.chunk_tokens=256 model.hidden_size=8192 model.num_heads=128
  model.intermediate_size=8192 model.num_layers=256)
"$timepipe" "${huge[@]}" >out 2>&1 && fail "a plan that can't fit" out
grep -q '^memory: .* GiB per rank: weights' out || fail "the plan isn't told" out
grep -q 'timepipe: memory: 1 rank(s) of the [a-z ]* of rank 0 need .* too much' out ||
  fail "no line about what is missing" out
grep -q 'parallel.check_memory=false' out || fail "not how to go on" out
echo ok
