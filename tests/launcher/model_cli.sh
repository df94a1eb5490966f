#!/usr/bin/env bash
# model_cli.sh TIMEPIPE: trains a tiny model for two steps, then everything that
# can be done with a trained model: eval, score, generate, export, import; and
# the mistakes that can be made with each.
source "$(dirname "$0")/common.sh"
timepipe=$1
golden=$root/tests/golden/hf_linear_tied_f32
run() { "$timepipe" "$@" >out 2>err || fail "$*" err; }
wrong() { mistake "$1" "$timepipe" "${@:2}"; }
near() { # A B DISTANCE
  awk -v a="$1" -v b="$2" -v d="$3" 'BEGIN { exit !((a-b)^2 <= d^2) }'
}
value() { sed -n "s/^  \"$1\": \([^,]*\),*$/\1/p" eval.json; }

head -c 4500 "$(command -v bash)" | base64 -w0 >text
tiny=(train "$configs/demo.textproto" data.train=text
  data.sequence_length=512 train.chunk_tokens=128 model.num_layers=1
  model.hidden_size=32 model.intermediate_size=48 model.num_heads=2
  data.batch=1 data.held_out=0.25 optimizer.steps=2 optimizer.warmup_steps=0
  eval.every=0 checkpoint.every=0)
run "${tiny[@]}" run_dir=run
run "${tiny[@]}" run_dir=wide model.hidden_size=64

# eval: windows, the whole file, the held-out share.
run eval run --data text --by-position --json eval.json
[ "$(value tokens)" -eq 5999 ] && [ "$(value context)" -eq 512 ] ||
  fail "eval of windows" eval.json
grep -q '^     256 to     511 ' out || fail "no buckets" out
run eval run --data text --held-out --max-tokens 1000 --json eval.json
[ "$(value tokens)" -eq 1000 ] && [ "$(value first_token)" -eq 4500 ] ||
  fail "eval of the held-out share" eval.json
near "$(value bits_per_byte)" "$(awk "BEGIN { print $(value loss) / log(2) }")" \
  1e-5 || fail "bits per byte" eval.json
# A run whose text has documents: what it found on the held-out share is found
# again, and a text that tells no documents isn't read as another.
for documents in reset carry; do
  of_lines=("${tiny[@]}" data.bos_id=119 eval.every=2
    "data.documents=$documents")
  "$timepipe" "${of_lines[@]}" eval.sequences=99999 >out 2>&1 && fail "windows" out
  windows=$(sed -nE 's/.*expected at most ([0-9]+), the windows .*/\1/p' out)
  run "${of_lines[@]}" "eval.sequences=$windows" run_dir=$documents
  run eval $documents --data text --held-out --json eval.json
  held_out=$(sed -nE 's/.*"held_out_loss":([0-9.]*).*/\1/p' \
    $documents/metrics.jsonl)
  near "$(value loss)" "$held_out" 1e-5 ||
    fail "$documents: held-out loss $held_out of the run" eval.json
  [ "$(value documents)" = "\"$documents\"" ] || fail "not named" eval.json
done
for documents in reset carry; do
  mistake "text: lists no documents, and data.bos_id of the model's \
configuration names no token that starts one: expected --documents joined, or \
a file of timepipe data prepare" \
    "$timepipe" eval run --data text --documents $documents
done

# Tokens of another type than the run's.
for ((i = 0; i < 400; ++i)); do printf '\1\2\0\0'; done >wide.bin
for command in "eval run --data wide.bin" \
  "score run --tokens wide.bin --logits logits.safetensors" \
  "generate run --max-new-tokens 0 --prompt-file wide.bin"; do
  # shellcheck disable=SC2086  # words
  mistake "--token-type uint32 of eval, score, generate" "$timepipe" $command
  # shellcheck disable=SC2086
  mistake "token 0: id 513, expected one in [0, 256)" "$timepipe" $command \
    --token-type uint32
done
for ((i = 0; i < 400; ++i)); do printf '\1\0\0\0'; done >wide.bin
run score run --tokens wide.bin --logits logits.safetensors --token-type uint32
run eval run --data wide.bin --token-type uint32 --json eval.json
[ "$(value tokens)" -eq 399 ] || fail "eval of uint32" eval.json
rm logits.safetensors

# All of the file in one window.
run eval run --data text --context 0 --json eval.json
[ "$(value context)" -eq 5999 ] || fail "one window" eval.json

# --json takes what can be written. On standard output JSON stands alone,
# whatever that is; what is a file there isn't replaced by another.
whole() { # FILE: holds the result and nothing else
  [ "$(head -n 1 "$1")$(tail -n 1 "$1")" = "{}" ] &&
    grep -qF "$(grep '"loss": .*,$' eval.json | head -n 1)" "$1" || fail "$2" "$1"
}
one_window=("$timepipe" eval run --data text --context 0 --json)
for name in - /dev/stdout /dev/fd/1 file.json; do
  "${one_window[@]}" $name >file.json 2>err
  whole file.json "--json $name"
  grep -q '^loss ' err || fail "the text of --json $name" err
done
"${one_window[@]}" /dev/stdout 2>err | cat >piped.json
whole piped.json "--json /dev/stdout into a pipe"
"${one_window[@]}" /dev/stderr >out 2>err
whole err "--json /dev/stderr"
grep -q '^loss ' out || fail "the text of --json /dev/stderr" out
"${one_window[@]}" /dev/fd/7 7>seven.json >out
whole seven.json "--json /dev/fd/7"
mkfifo pipe
cat pipe >piped.json &
"${one_window[@]}" pipe >out
wait $!
whole piped.json "--json of a pipe"
[ -p pipe ] || fail "the pipe is gone"
"${one_window[@]}" /dev/full >out 2>err && fail "full disk"
grep -q '^timepipe: /dev/full: No space' err || fail "full disk" err
rm pipe

# score agrees with it.
run score run --tokens text --logits logits.safetensors
near "$(sed -n 's/.*; loss \([0-9.]*\),.*/\1/p' out)" "$(value loss)" 2e-6 ||
  fail "score and eval differ: $(value loss)" out
[ "$(stat -c %s logits.safetensors)" -gt $((6000 * 256 * 4)) ] || fail "size"
echo "ok: eval and score"

# generate: A + B is B from the state after A; a seed gives the same again.
a="In the beginning was " b="the word, and"
run generate run --prompt "$a$b" --greedy --max-new-tokens 40
mv out whole
[ "$(stat -c %s whole)" -eq 40 ] || fail "not 40 bytes" whole
run generate run --prompt "$a" --max-new-tokens 0 --state-out a.state
[ ! -s out ] || fail "wrote something" out
run generate run --prompt "$b" --greedy --max-new-tokens 40 --state-in a.state
cmp out whole || fail "another text from the state after A"
sampled=(generate run --max-new-tokens 30 --temperature 0.9 --top-k 50
  --top-p 0.95 --seed)
run "${sampled[@]}" 3 --prompt "$a" --state-out b.state
mv out first
run "${sampled[@]}" 3 --prompt "$a"
cmp out first || fail "a seed doesn't give the same text"
run "${sampled[@]}" 4 --prompt "$a"
cmp -s out first && fail "seeds give the same text"
cat <(printf %s "$a") first >prompt
run "${sampled[@]}" 3 --prompt-file prompt --state-out c.state
run "${sampled[@]}" 3 --prompt x --state-in b.state
mv out x
printf x >>prompt
run "${sampled[@]}" 3 --prompt-file prompt
cmp out x || fail "a saved state hasn't read what was written"
run "${sampled[@]}" 3 --prompt-file - < <(printf '\xef\xbb\xbf'; cat prompt)
cmp out x || fail "another text from standard input"
run "${sampled[@]}" 3 --prompt-file <(cat prompt)
cmp out x || fail "another text from a pipe"
mistake "standard input: a gzip file, expected a text" \
  "$timepipe" generate run --prompt-file - < <(gzip -c prompt)
run generate run --prompt "$a" --greedy --max-new-tokens 3 --ids
grep -qE '^([0-9]+ ){3}$' out || fail "no ids" out
echo "ok: generate"

# Memory: a long prompt needs no more than a short one, but for the piece of it
# that is made into tokens at once.
peak() { # TOKENS
  head -c "$1" /dev/zero | tr '\0' a >long
  run generate run --prompt-file long --max-new-tokens 100
  sed -n 's/.* \([0-9.]*\) MiB of memory at most$/\1/p' err
  cat err >>speeds
}
short=$(peak 200) long=$(peak 200000)
cat speeds
awk "BEGIN { exit !($long <= $short + 3) }" ||
  fail "memory grows with the prompt: $short, $long MiB"
echo "ok: $long MiB after 200000 tokens, $short after 200"

# Hugging Face folders.
run checkpoint export run hf --shard-bytes 30000
run checkpoint verify-export hf
run checkpoint import hf imported
run checkpoint list imported
run checkpoint verify imported
run checkpoint export imported hf2 --shard-bytes 30000
run checkpoint import hf2 again
run checkpoint diff imported again
diff -r hf hf2 || fail "an export of the imported isn't the same"
run "${tiny[@]}" run_dir=tuned init_from=imported
run eval hf --data text --context 512 --json hf.json
run eval imported --data text --context 512 --json eval.json
[ "$(value loss)" = "$(sed -n 's/^  "loss": \([^,]*\),$/\1/p' hf.json)" ] ||
  fail "another loss of the imported" eval.json
printf '\1\0\77\0' >ids.bin
run generate "$golden" --prompt-file ids.bin --max-new-tokens 5 --ids --ignore-eos
grep -qE '^([0-9]+ ){5}$' out || fail "no ids" out
echo "ok: export and import"

# A reader that leaves, and a full disk.
status=0
"$timepipe" generate run --prompt a --max-new-tokens 1000000 2>err |
  head -c 10 >/dev/null || status=$?
[ $status -ne 0 ] && [ ! -s err ] || fail "not quiet on a closed pipe" err
"$timepipe" eval run --data text >/dev/full 2>err && fail "full disk"
grep -q '^timepipe: standard output: No space' err || fail "full disk" err
"$timepipe" checkpoint verify run >/dev/full 2>err && fail "full disk"
grep -q '^timepipe: standard output: No space' err || fail "full disk" err

# Mistakes.
rm x
generate=(generate run --prompt a)
printf '\377\377' >large.bin
wrong "nowhere: no such folder" eval nowhere --data text
wrong "expected a checkpoint, or a run folder" eval . --data text
wrong "nothing: No such file" eval run --data nothing
wrong "--data" eval run
wrong "--context: " eval run --data text --context=-3
wrong "token 0: id 65535, expected one in [0, 256)" \
  score run --tokens large.bin --logits x
wrong "large.bin: 1 token(s) to evaluate" eval run --data large.bin
wrong "dtype" score run --tokens text --logits x --dtype f16
wrong "x/y: " score run --tokens text --logits x/y
wrong "no tensor named tokens or input_ids, but logits, loss" score run --logits x \
  --tokens logits.safetensors
wrong "prompt: empty" generate run
wrong "prompt: empty" generate run --state-in a.state
wrong "nothing: No such file" generate run --prompt-file nothing
wrong "tokenizer bytes: 256 ids, expected at most the model's 64" \
  generate "$golden" --prompt a --tokenizer bytes
wrong "tokenizer.model: No such file" generate "$golden" --prompt a
wrong "--bos: neither" "${generate[@]}" --bos
wrong "nothing: No such file" "${generate[@]}" --tokenizer nothing
wrong "expected a sentencepiece model" "${generate[@]}" --tokenizer text
wrong "--prompt excludes --prompt-file" "${generate[@]}" --prompt-file text
wrong "--temperature: -1" "${generate[@]}" --temperature=-1
wrong "--top-k: -2" "${generate[@]}" --top-k=-2
wrong "--top-p: 0.0" "${generate[@]}" --top-p 0
wrong "--top-k excludes --greedy" "${generate[@]}" --greedy --top-k 5
wrong "--max-new-tokens" "${generate[@]}" --max-new-tokens=-1
wrong "--state-in: a.state: hidden_size: 32, expected 64" generate wide --prompt a \
  --state-in a.state
wrong "--state-in: text: not a hidden-state file: a text, expected" \
  "${generate[@]}" --state-in text
wrong "--state-in: logits.safetensors: not a hidden-state file: no format" \
  "${generate[@]}" --state-in logits.safetensors
wrong "x: No such file" "${generate[@]}" --state-out x/y
wrong "x: No such file" eval run --data text --json x/y
wrong "run: not a regular file" eval run --data text --json run
# A result takes the place of nothing that it is made of, nor of another one.
cp -r hf same
cp text copy
cp a.state on.state
ln -s "$PWD/same" link
ln copy hard
find same copy on.state -type f -exec cat {} + >before
wrong "--logits: hard: the file of --tokens" \
  score run --tokens copy --logits hard
wrong "--logits: same/config.json: a file in the folder of CHECKPOINT" \
  score link --tokens copy --logits same/config.json
wrong "--json: hard: the file of --data" eval run --data copy --json hard
wrong "--json: link/config.json: a file in the folder of CHECKPOINT" \
  eval same --data copy --json link/config.json
wrong "--state-out: ./copy: the file of --prompt-file" \
  generate run --prompt-file copy --state-out ./copy
mistake "--state-out: copy: the file of --prompt-file" \
  "$timepipe" generate run --prompt-file - --state-out copy <copy
wrong "--state-out: run/metrics.jsonl: a file in the folder of CHECKPOINT" \
  "${generate[@]}" --state-out run/metrics.jsonl
wrong "HF_FOLDER: run/metrics.jsonl: a file in the folder of CHECKPOINT" \
  checkpoint export run run/metrics.jsonl
"$timepipe" "${generate[@]}" --state-out two >two 2>err && fail "two results" two
grep -q -- '--state-out: two: the file of standard output' err ||
  fail "two results" err
find same copy on.state -type f -exec cat {} + | cmp - before ||
  fail "an input was replaced"
run "${generate[@]}" --state-in on.state --state-out on.state
cmp -s on.state a.state && fail "the state of --state-in wasn't replaced"
wrong "--seed: -1, expected" "${generate[@]}" --seed=-1
wrong "(see timepipe generate --help)" "${generate[@]}" --top-q 1
wrong "hf: is there already" checkpoint export run hf
wrong "run: expected a Hugging Face folder" checkpoint import run x
wrong "timepipe_fixture.safetensors: no fixture: not made by timepipe checkpoint" \
  checkpoint verify-export "$golden"
wrong "nowhere: no such folder" checkpoint verify-export nowhere
wrong "run: expected a Hugging Face folder" checkpoint verify-export run
wrong "nowhere: no such folder, expected a run folder" checkpoint list nowhere
wrong "same: a Hugging Face folder, expected a run folder" checkpoint list same
wrong "run/checkpoints/: the checkpoints' folder of a run: RUN_DIR is run, exp" \
  checkpoint list run/checkpoints/
wrong "step-000002: a checkpoint, expected a run folder" \
  checkpoint list run/checkpoints/step-000002
wrong ".: no checkpoints, expected a run folder" checkpoint list .
wrong "same: a Hugging Face folder" checkpoint verify same
wrong "nowhere: no such folder" checkpoint diff run nowhere
wrong "run/checkpoints: the checkpoints' folder of a run: RUN_DIR is run," \
  eval run/checkpoints --data text
wrong "run: is there already" checkpoint import "$golden" run
wrong "--dtype" checkpoint export run x --dtype f16
sed -i 's/"hidden_size": 32/"hidden_size": 36/' hf2/config.json
wrong "expected [256,36]" checkpoint import hf2 x
[ ! -e x ] || fail "a mistake left something"
sed -i 's/"vocab_size": 256/"vocab_size": 300/' hf/config.json
wrong "expected [300,32]" eval hf --data text
flipped=run/checkpoints/step-000002
printf x | dd of=$flipped/shard-00000-of-00001.safetensors bs=1 seek=30000 \
  conv=notrunc 2>dd
wrong "checksum" eval $flipped --data text
"$timepipe" eval run --data text >out 2>&1 && fail "read a broken checkpoint"
grep -q 'broken checkpoint passed over: .*checksum' out || fail "not named" out
echo "ok: mistakes are named"
