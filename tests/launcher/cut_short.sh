#!/usr/bin/env bash
# cut_short.sh TIMEPIPE MPIEXEC SPM_TRAIN: data that change under a run. A file
# that is cut short is named, with status 1, after what was trained is saved,
# and the run goes on from there when the file is back; an id that the model
# doesn't have is named before the first step. A text that is cut short while
# it is made into tokens is named, and nothing is left of them.
source "$(dirname "$0")/common.sh"
timepipe=$1 mpiexec=$2 spm_train=$3

head -c 4500 "$(command -v bash)" | base64 -w0 >text
run=(train "$configs/demo.textproto" data.sequence_length=256
  train.chunk_tokens=64 model.hidden_size=32 model.num_heads=2
  model.intermediate_size=48 data.batch=2 optimizer.lr=1e-3
  optimizer.end_lr=1e-3 optimizer.warmup_steps=0)

# cut RUN COMMAND...: cuts data.txt after a few steps and leaves the last step
# that was saved in `steps`.
cut() {
  local run_dir=$1 status=0
  shift
  cp text data.txt
  set -m
  : >out
  "$@" data.train=data.txt run_dir="$run_dir" optimizer.steps=1000000 \
    >out 2>&1 &
  job=$!
  until [ "$(grep -c '^step [0-9]*/' out)" -ge 3 ]; do
    kill -0 $job 2>/dev/null || fail "ended before its file was cut" out
    read -rt 0.01 <> <(:) || true
  done
  truncate -s 100 data.txt
  wait $job || status=$?
  job=
  set +m
  [ "$status" -eq 1 ] || fail "$run_dir: status $status" out
  [ "$(grep -c '^timepipe:' out)" -eq 1 ] || fail "$run_dir: not one line" out
  grep -q "data.txt: 100 bytes, expected 6000 as when it was opened: it was cut\
 short; saved after step [0-9]* in $run_dir/checkpoints/step-" out ||
    fail "$run_dir: what came" out
  steps=$(sed -n 's/.*; saved after step \([0-9]*\) in .*/\1/p' out)
  "$timepipe" checkpoint verify "$run_dir" >out || fail "$run_dir: verify" out
}

# goes_on RUN: from `steps`, when the file is back, to the bits of a run that
# nobody disturbed.
goes_on() {
  cp text data.txt
  local all=(data.train=data.txt optimizer.steps=$((steps + 2)))
  "$timepipe" "${run[@]}" "${all[@]}" run_dir="$1" >out 2>&1 || fail "$1" out
  grep -q "^resumed after step $steps" out || fail "$1: lost steps" out
  "$timepipe" "${run[@]}" "${all[@]}" run_dir="$1.whole" >out 2>&1 ||
    fail "$1.whole" out
  "$timepipe" checkpoint diff "$1" "$1.whole" || fail "$1: other bits"
}

cut alone "$timepipe" "${run[@]}"
goes_on alone
cut two "$mpiexec" -n 2 "$timepipe" "${run[@]}" parallel.data=2
goes_on two
echo "ok: cut short, saved, gone on"

# The last of 9001 ids is none of 256: only the file tells.
for ((i = 0; i < 3000; ++i)); do printf '\5\0\6\0\7\0'; done >good.bin
{ cat good.bin && printf '\220\1'; } >late.bin
for ranks in 1 2; do
  "$mpiexec" -n $ranks "$timepipe" "${run[@]}" data.train=good.bin,late.bin \
    run_dir=ids$ranks optimizer.steps=2 parallel.data=$ranks >out 2>&1 &&
    fail "an id of another vocabulary" out
  [ "$(grep -c '^timepipe:' out)" -eq 1 ] || fail "not one line" out
  grep -q 'late.bin: token 9000: id 400, expected one in \[0, 256)' out ||
    fail "the id isn't named" out
  grep -q '^step' out && fail "named after a step" out
done
"$timepipe" "${run[@]}" data.train=good.bin run_dir=ids optimizer.steps=1 \
  >out 2>&1 || fail "good ids" out
grep -q '"tokens": 9000' ids/scanned.json || fail "not remembered" ids/scanned.json
echo "ok: ids are looked through before the first step"

for ((i = 0; i < 400; ++i)); do
  echo "Line $i of the text says what lines of a text say: $((i * i)) cafés"
done >line.txt
"$spm_train" --input=line.txt --model_prefix=small --vocab_size=120 \
  --model_type=bpe --hard_vocab_limit=false >out 2>&1 || fail spm_train out
sed 's/.*/{"text": "&"}/' line.txt >line.jsonl

# prepare INPUT...: into none.safetensors, in the background.
prepare() {
  set -m
  "$timepipe" data prepare "$@" --out none.safetensors >out 2>&1 &
  job=$!
  set +m
}
# names_cut INPUT SIZE WHEN: what comes of it then, for one of SIZE bytes.
names_cut() {
  local status=0
  wait $job || status=$?
  job=
  [ "$status" -eq 1 ] || fail "$1: status $status" out
  tail -n 1 out | grep -qx "timepipe: $1: 100 bytes, expected $2 as when it was\
 $3: it was cut short" || fail "$1: what came" out
  [ -z "$(find . -name 'none*')" ] || fail "$1: tokens are left"
}

# Bytes of the file that the job makes, which has no name yet, or one of its own.
written() {
  local fd bytes=0
  for fd in /proc/$job/fd/*; do
    [[ $(readlink "$fd") =~ ' (deleted)'$|'.part'$ ]] || continue
    bytes=$(stat -L -c %s "$fd" 2>/dev/null) || bytes=0
  done
  echo "$bytes"
}
# cut_prepare INPUT THREADS: cuts what takes seconds to be made into tokens when
# the first ones are written.
cut_prepare() {
  local input=$1 size written=0
  for ((i = 0; i < 600; ++i)); do cat "line.${input##*.}"; done >"$input"
  size=$(stat -c %s "$input")
  prepare "$input" --tokenizer small.model --threads "$2"
  until [ "$written" -gt 4096 ]; do
    kill -0 $job 2>/dev/null || fail "ended before $input was cut" out
    read -rt 0.01 <> <(:) || true
    written=$(written)
  done
  truncate -s 100 "$input"
  names_cut "$input" "$size" opened
}
cut_prepare whole.txt 1
cut_prepare whole.txt 2
cut_prepare whole.jsonl 2

# One that loses its end before its turn: when the pipe after it is opened, it
# was looked at.
mkfifo later
cp line.txt whole.txt
prepare whole.txt later
timeout 60 bash -c 'exec >later && truncate -s 100 whole.txt && echo text' ||
  fail "nobody reads the pipe" out
names_cut whole.txt "$(stat -c %s line.txt)" "looked at"
echo "ok: texts that are cut short are named, and no tokens are left"
