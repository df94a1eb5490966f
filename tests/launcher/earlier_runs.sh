#!/usr/bin/env bash
# earlier_runs.sh TIMEPIPE: runs that an earlier version left (earlier_runs/)
# go on as they did there: with the same bits on a processor like the one on
# which they began, with the same losses but for rounding on any. Data are known
# by their contents, a checkpoint by its step.
source "$(dirname "$0")/common.sh"
timepipe=$1
cp -r "$root/tests/launcher/earlier_runs/." .

# KEY FILE: the key's values, a line each.
values() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$2"; }

joined=("$timepipe" train config.textproto data.train_weights=3,1)
carried=("$timepipe" train config.textproto data.carry_state=true
  data.documents=carry data.bos_id=10)

# goes_on RUN COMMAND...
goes_on() {
  local run=$1
  shift
  cp -r "$run" "$run.kept"
  "$@" run_dir="$run" optimizer.steps=6 >out 2>&1 || fail "$run" out
  grep -q '^resumed after step 3' out || fail "$run didn't go on" out
  paste <(values loss "$run-to-6.jsonl") <(values loss "$run/metrics.jsonl") |
    awk '{ d = $1 - $2; bad += d * d > 1e-8 } END { exit bad || NR != 6 }' ||
    fail "$run: other losses" "$run/metrics.jsonl"
  # From the start, here: the earlier version's bits if it began with them.
  "$@" run_dir="$run.new" optimizer.steps=6 >out 2>&1 || fail "$run.new" out
  if cmp -s <(values digest "$run.new/metrics.jsonl" | head -3) \
    <(values digest "$run-to-6.jsonl" | head -3); then
    cmp <(values digest "$run/metrics.jsonl") \
      <(values digest "$run-to-6.jsonl") || fail "$run: other bits"
    "$timepipe" checkpoint diff "$run" "$run.new" || fail "$run: other state"
    echo "ok: $run, the same bits"
  else
    echo "ok: $run, the same losses; its bits are another processor's"
  fi
}
goes_on joined "${joined[@]}"
goes_on carried "${carried[@]}"

# The same data under other names, for a checkpoint that knows them by their
# bytes and for one that knows them by their tokens.
mkdir -p elsewhere/deep
mv book.txt elsewhere/
mv more.bin elsewhere/deep/
ln -s elsewhere/book.txt a-link
for run in joined.kept joined; do
  for names in elsewhere/book.txt,elsewhere/deep/more.bin \
    "./a-link,$PWD/elsewhere/deep/more.bin" 'else*/b?ok.txt,elsewhere/*/*.bin'; do
    rm -rf copy
    cp -r "$run" copy
    "${joined[@]}" run_dir=copy "data.train=$names" optimizer.steps=8 \
      >out 2>&1 || fail "$run with $names" out
    grep -q '^resumed after step [36]$' out || fail "$names: from the start" out
    cmp <(values digest copy/metrics.jsonl | head -6) \
      <(values digest joined/metrics.jsonl) || fail "$names: other bits"
  done
done
echo "ok: data at other places, the same bits"

# Other data, others besides, another order.
(cat elsewhere/book.txt && echo more) >book.txt
cp elsewhere/deep/more.bin .
for run in joined.kept joined; do
  refused "data.train: book.txt: not what $run/checkpoints/step-00000" \
    "${joined[@]}" run_dir=$run optimizer.steps=8
  grep -q ', expected the tokens of book.txt$' out || fail "what was there" out
done
cp elsewhere/book.txt .
refused "data.train: file 1: more.bin, expected the tokens of book.txt" \
  "${joined[@]}" run_dir=joined data.train=more.bin,book.txt optimizer.steps=8
"${joined[@]}" run_dir=pattern 'data.train=book.txt,[m-n]*.bin' >out 2>&1 ||
  fail pattern out
head -c 400 more.bin >new.bin
refused "data.train: new.bin: not what pattern/checkpoints/step-000003" \
  "${joined[@]}" run_dir=pattern 'data.train=book.txt,[m-n]*.bin' \
  optimizer.steps=8
rm new.bin more.bin
refused "data.train: [m-n]*.bin: no file matches" \
  "${joined[@]}" run_dir=pattern 'data.train=book.txt,[m-n]*.bin'
refused "data.train: expected the tokens of more.bin, too" \
  "${joined[@]}" run_dir=pattern 'data.train=book.txt,b*.txt'
echo "ok: other data are refused by name"

# The same tokens as numbers of another width.
{ printf '\223NUMPY\1\0v\0%-117s\n' \
  "{'descr': '|u1', 'fortran_order': False, 'shape': ($(wc -c <book.txt),)}" &&
  cat book.txt; } >book.npy
"${joined[@]}" run_dir=joined data.train=book.npy,elsewhere/deep/more.bin \
  optimizer.steps=7 >out 2>&1 || fail "the same tokens as .npy" out
grep -q '^resumed after step 6' out || fail ".npy: from the start" out
echo "ok: the same tokens in another form"

# A folder that has the name of another step is no checkpoint of that step.
cp -r carried renamed
mv renamed/checkpoints/step-000006 renamed/checkpoints/step-000009
"$timepipe" checkpoint list renamed >out && fail "a renamed step is whole" out
grep -q 'BROKEN .*manifest.json: steps: 6, expected 9' out || fail renamed out
echo "ok: folders have the names of their steps"
