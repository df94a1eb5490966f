#!/usr/bin/env bash
# bits_per_byte.sh TIMEPIPE SPM_TRAIN: eval divides the losses that it adds up by
# the bytes of the same labels, whatever marks documents have, however they are
# read and whichever labels the loss leaves out.
source "$(dirname "$0")/common.sh"
timepipe=$1 spm_train=$2

for ((i = 0; i < 400; ++i)); do
  echo "Line $i | of the text says what lines of a text say: $((i * i))"
done >text.txt
head -n 5 text.txt >few.txt
sed 's/.*/{"text": "&"}/' few.txt >few.jsonl
texts=$(($(stat -c %s few.txt) - 5))  # bytes, without line feeds
"$spm_train" --input=text.txt --model_prefix=small --vocab_size=120 \
  --hard_vocab_limit=false --user_defined_symbols='|' >log 2>&1 ||
  fail spm_train log
bar=3  # the id of "|", behind those of the unknown, start and end

train() { # RUN FIELD...
  "$timepipe" train "$configs/demo.textproto" data.train=text.txt \
    data.sequence_length=128 train.chunk_tokens=64 model.num_layers=1 \
    model.hidden_size=32 model.intermediate_size=48 model.num_heads=2 \
    optimizer.steps=1 optimizer.warmup_steps=0 eval.every=0 run_dir="$1" \
    "${@:2}" >out 2>&1 || fail "train $*" out
}
train run
train jax data.loss=jax data.bos_id=$bar
train jax_of_bytes data.loss=jax data.bos_id=101  # "e"

value() { sed -n "s/^  \"$1\": \([^,]*\),*$/\1/p" eval.json; }
counts() { # BYTES RUN OPTION...: eval counts so many
  "$timepipe" eval "${@:2}" --json eval.json >out 2>err || fail "eval $*" err
  awk -v all="$(value bits_per_token)" -v tokens="$(value tokens)" \
    -v each="$(value bits_per_byte)" -v expected="$1" \
    'BEGIN { d = all * tokens / each - expected; exit !(d * d < 1e-4) }' ||
    fail "eval ${*:2}: not $1 bytes" eval.json
}

for marks in "--bos --no-eos" "--bos --eos"; do
  # shellcheck disable=SC2086  # options
  "$timepipe" data prepare few.jsonl --tokenizer small.model $marks \
    --overwrite --out few.safetensors >out 2>&1 || fail "prepare $marks" out
  few=(--data few.safetensors --tokenizer small.model)
  for documents in joined reset carry; do
    counts "$texts" run "${few[@]}" --documents $documents
    counts "$texts" run "${few[@]}" --documents $documents --context 32
    # Five bars that are no labels.
    counts $((texts - 5)) jax "${few[@]}" --documents $documents
  done
done
all=$(stat -c %s text.txt) es=$(tr -cd e <text.txt | wc -c)
counts $((all - 1)) run --data text.txt
counts $((all - 1 - es)) jax_of_bytes --data text.txt
echo "ok: the bytes are those of the labels"

echo '{"text": "Line 中 of the text 文 says"}' >>few.jsonl
"$timepipe" data prepare few.jsonl --tokenizer small.model --overwrite \
  --out few.safetensors >out 2>&1 || fail "prepare" out
"$timepipe" eval run "${few[@]}" --json eval.json >out 2>err || fail eval err
grep -qx 'timepipe: bits per byte not known: 2 unknown ids' err ||
  fail "unknown ids aren't counted" err
[ "$(value bits_per_byte)" = null ] || fail "unknown bytes" eval.json
echo "ok: unknown ids have no known bytes"
