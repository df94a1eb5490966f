#!/usr/bin/env bash
# data_cli.sh TIMEPIPE SPM_TRAIN: `timepipe data` as a person uses it. Each
# mistake ends with status 1 and one line, and leaves no file; a file that was
# prepared trains with its tokenizer and is refused with another one.
source "$(dirname "$0")/common.sh"
timepipe=$1 spm_train=$2

for ((i = 0; i < 400; ++i)); do
  echo "Line $i of the text says what lines of a text say: $((i * i)) cafés"
done >text.txt
sed 's/.*/{"id": 7, "text": "&", "body": "x"}/' text.txt >lines.jsonl
"$spm_train" --input=text.txt --model_prefix=small --vocab_size=120 \
  --hard_vocab_limit=false >log 2>&1 || fail spm_train log

prepare=("$timepipe" data prepare)
"${prepare[@]}" text.txt lines.jsonl --out bytes.safetensors >out || fail bytes
grep -q '^bytes.safetensors: [0-9]* tokens, uint8, of 401 document' out ||
  fail "summary" out
for threads in 1 3; do
  "${prepare[@]}" text.txt lines.jsonl --tokenizer small.model \
    --threads $threads --out pieces$threads.safetensors >out || fail pieces out
done
cmp pieces1.safetensors pieces3.safetensors || fail "threads change the file"
"$timepipe" data info pieces1.safetensors text.txt --sequence-length 64 \
  --vocab-size 256 >out || fail info out
for line in 'pieces1.safetensors: .safetensors, uint8, ' \
  'documents: 401; shortest ' 'tokenizer: small.model (xxh64:' \
  'documents end with 2' 'sequences of 64 tokens: ' 'all below 256' \
  'text.txt: text, its bytes are the tokens, '; do
  grep -qF "$line" out || fail "info lacks '$line'" out
done
for command in "data" "data prepare" "data info"; do
  # shellcheck disable=SC2086  # the command's words
  "$timepipe" $command --help | grep -q '^Example' || fail "help of $command"
done
echo "ok: texts and lines, any number of threads"

# Other names, standard input, a pipe, bad lines.
"${prepare[@]}" lines.jsonl --out lines.safetensors >out || fail lines out
same() {  # COMMAND...: makes the same tokens of documents as lines.jsonl
  "$@" --overwrite --out again.safetensors >out 2>&1 || fail "$*" out
  cmp lines.safetensors again.safetensors || fail "another file: $*"
}
cp lines.jsonl lines.NDJSON
cp lines.jsonl part-00000
gzip -k lines.jsonl
same "${prepare[@]}" lines.NDJSON
same "${prepare[@]}" part-00000 --field text
gzip -dc lines.jsonl.gz | same "${prepare[@]}" - --field text
same "${prepare[@]}" <(gzip -dc lines.jsonl.gz) --field text
(echo && cat lines.jsonl && echo '{"text": 1}') | same "${prepare[@]}" - \
  --field text --skip-bad-lines
grep -qx 'left out: 1 bad line(s)' out || fail "not counted" out
grep -qx "  standard input: line 402: column 10: field 'text': a number, \
expected a text" out || fail "not named" out
[ ! -e again.safetensors.input.part ] || fail "what came in is left"
echo "ok: JSON lines under any name and through pipes"

out=(--out none.safetensors)
# A line of NULs, as the loss of power leaves it, near the start and far from it.
for ((i = 0; i < 8; ++i)); do cat lines.jsonl; done >many.jsonl
[ "$(stat -c %s many.jsonl)" -gt 300000 ] || fail "not many lines"
"${prepare[@]}" many.jsonl --overwrite --out lines.safetensors >out || fail many out
for line in 1 4 3190; do
  { head -n $((line - 1)) many.jsonl && head -c 5000 /dev/zero && echo &&
    tail -n +$line many.jsonl; } >torn.jsonl
  mistake "torn.jsonl: line $line: column 1: not JSON: expected a value, but \
there is a NUL" "${prepare[@]}" torn.jsonl "${out[@]}"
  same "${prepare[@]}" torn.jsonl --skip-bad-lines
  grep -q "^  torn.jsonl: line $line: column 1: not JSON" out ||
    fail "the torn line isn't named" out
done
echo "ok: torn lines are named and left out"

mistake 'part-00000: its lines are JSON objects: --field text' \
  "${prepare[@]}" part-00000 "${out[@]}"
mistake '--field: text.txt is a text' "${prepare[@]}" lines.jsonl text.txt \
  --field text "${out[@]}"
mistake '--field excludes --text' "${prepare[@]}" lines.jsonl --field text \
  --text "${out[@]}"
mistake 'gzip -dc lines.jsonl.gz | timepipe data prepare - --field text' \
  "${prepare[@]}" lines.jsonl.gz "${out[@]}"
mistake 'standard input: empty' "${prepare[@]}" - "${out[@]}" </dev/null
mistake 'standard input: a gzip file, expected a text or JSON lines: pipe it' \
  "${prepare[@]}" - "${out[@]}" <lines.jsonl.gz
# Every command asks the same question.
mistake 'lines.jsonl: JSON lines, expected tokens or a text' \
  "$timepipe" data ngram --train lines.jsonl --held-out 0.2
mistake 'lines.jsonl.gz: a gzip file, expected tokens or a text' \
  "$timepipe" data info lines.jsonl.gz
mistake 'lines.jsonl.gz: a gzip file, expected a sentencepiece model' \
  "${prepare[@]}" text.txt --tokenizer lines.jsonl.gz "${out[@]}"
mistake 'lines.jsonl.gz: a gzip file, expected a text: gzip -dc' \
  "$timepipe" config lines.jsonl.gz
for ((i = 0; i < 400; ++i)); do printf '\1\2\0\0'; done >wide.bin
mistake 'wide.bin: every second uint16 is 0: uint32' "$timepipe" data info \
  wide.bin
"$timepipe" data info wide.bin --token-type uint32 >out || fail info out
grep -q ', uint32, 400 tokens' out || fail "not read as uint32" out
echo '{"text": "a"}' >bad.jsonl
echo '{"text": "a", ' >>bad.jsonl
: >empty.txt
mkdir folder
mistake 'missing.txt: No such file' "${prepare[@]}" missing.txt "${out[@]}"
mistake 'empty.txt: empty' "${prepare[@]}" text.txt empty.txt "${out[@]}"
mistake 'folder: not a regular file' "${prepare[@]}" folder "${out[@]}"
mistake 'bad.jsonl: line 2: column 15: not JSON' "${prepare[@]}" bad.jsonl \
  "${out[@]}"
mistake "lines.jsonl: line 1: no field 'words', but 'id', 'text', 'body'" \
  "${prepare[@]}" lines.jsonl \
  --field words "${out[@]}"
mistake "lines.jsonl: line 1: column 8: field 'id': a number, expected a text" \
  "${prepare[@]}" lines.jsonl --field id "${out[@]}"
mistake 'bytes.safetensors: a safetensors file, expected a text' "${prepare[@]}" \
  bytes.safetensors "${out[@]}"
mistake '--out: bytes.safetensors exists' "${prepare[@]}" text.txt \
  --out bytes.safetensors
mistake 'expected a name ending in .safetensors' "${prepare[@]}" text.txt \
  --out a.bin
mistake 'none/a.safetensors: No such file' "${prepare[@]}" text.txt \
  --out none/a.safetensors
mistake 'text.txt/a.safetensors: Not a directory' "${prepare[@]}" \
  text.txt --out text.txt/a.safetensors
mistake '--eos: tokenizer bytes has no such id' "${prepare[@]}" text.txt --eos \
  "${out[@]}"
mistake '--threads' "${prepare[@]}" text.txt --threads 0 "${out[@]}"
mistake 'INPUT is required' "${prepare[@]}" "${out[@]}"
mistake 'no.model: No such file' "${prepare[@]}" text.txt --tokenizer no.model \
  "${out[@]}"
mistake 'text.txt: a text, expected a sentencepiece model' "${prepare[@]}" text.txt \
  --tokenizer text.txt "${out[@]}"
head -c 3000 small.model >cut.model
mistake 'cut.model: not a sentencepiece model' "${prepare[@]}" text.txt \
  --tokenizer cut.model "${out[@]}"
printf '\377' | cat text.txt - >binary.txt
mistake "binary.txt: byte $(stat -c %s text.txt): not UTF-8" "${prepare[@]}" \
  binary.txt --tokenizer small.model "${out[@]}"
cp "$timepipe" alone
mistake "$work/timepipe-tokenizer: No such file" ./alone data prepare text.txt \
  --tokenizer small.model "${out[@]}"
full() { (ulimit -f 20 && exec "$@"); }
mistake 'none.safetensors: File too large' full "${prepare[@]}" text.txt \
  "${out[@]}"
[ "$(id -u)" -eq 0 ] || {
  chmod 555 folder
  mistake 'Permission denied' "${prepare[@]}" text.txt --out folder/a.safetensors
}
! ls none* ./*.part >/dev/null 2>&1 || fail "a mistake left a file"

# Several at once, into one file: the last one counts, whole.
jobs=()
for i in 1 2 3 4; do
  "${prepare[@]}" text.txt lines.jsonl --out shared.safetensors --overwrite \
    >out$i 2>&1 &
  jobs+=($!)
done
for pid in "${jobs[@]}"; do wait "$pid" || fail "one of several at once" out1; done
cmp shared.safetensors bytes.safetensors || fail "several at once: other bytes"
echo "ok: several at once into one file"

# As one of several ranks.
for rank in 0 1 2; do
  OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_RANK=$rank \
    "${prepare[@]}" text.txt lines.jsonl --out rank$rank.safetensors >out 2>log ||
    fail "rank $rank of 3" log
  if [ $rank -eq 0 ]; then
    cmp rank0.safetensors bytes.safetensors || fail "rank 0 made other bytes"
    grep -qxF "timepipe: data prepare: rank 0 of 3 does it, the others leave: \
it needs no mpirun or srun" log || fail "rank 0 doesn't say that it is alone" log
  else
    [ ! -e rank$rank.safetensors ] && [ ! -s out ] && [ ! -s log ] ||
      fail "rank $rank did something" log
  fi
done
SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1 "$timepipe" data info text.txt >out 2>&1
[ ! -s out ] || fail "rank 1 of srun did something" out
SLURM_NTASKS=2 SLURM_PROCID=0 "$timepipe" data info text.txt >out 2>log ||
  fail "not in a batch script" log
[ ! -s log ] && grep -q 'tokens' out || fail "a batch script isn't a rank" log
echo "ok: of several ranks one works"

mistake 'missing.bin: No such file' "$timepipe" data info missing.bin
printf 'abc' >odd.bin
mistake 'odd.bin: 3 bytes of tokens' "$timepipe" data info odd.bin
head -c 2000 bytes.safetensors >short.safetensors
mistake 'short.safetensors: ' "$timepipe" data info short.safetensors
"$timepipe" data info bytes.safetensors --vocab-size 64 >out 2>log &&
  fail "ids beyond the vocabulary" out
[ "$(grep -c '^timepipe: bytes.safetensors: token 0: id 76, expected one in' \
  log)" -eq 1 ] || fail "the id isn't named" log
echo "ok: mistakes end with status 1 and one line"

train=("$timepipe" train "$configs/demo.textproto" data.sequence_length=128
  train.chunk_tokens=64 model.hidden_size=64 model.intermediate_size=96
  optimizer.steps=2 optimizer.warmup_steps=0)
for file in bytes.safetensors text.txt; do
  "${train[@]}" data.train=$file >out 2>&1 || fail "train on $file" out
done
"${train[@]}" data.train=pieces1.safetensors data.tokenizer=small.model \
  >out 2>&1 || fail "train with a model" out
cp small.model renamed.model
"${train[@]}" data.train=pieces1.safetensors data.tokenizer=renamed.model \
  >out 2>&1 || fail "the same model under another name" out
mistake 'pieces1.safetensors: tokens of tokenizer small.model (xxh64:' \
  "${train[@]}" data.train=pieces1.safetensors
mistake 'expected those of data.tokenizer = small.model (xxh64:' \
  "${train[@]}" data.train=bytes.safetensors data.tokenizer=small.model
mistake 'text.txt: the tokens of a text are its bytes' \
  "${train[@]}" data.train=text.txt data.tokenizer=small.model
mistake 'lines.jsonl: JSON lines, expected tokens or a text' \
  "${train[@]}" data.train=lines.jsonl
echo "ok: training knows whose tokens it reads"
