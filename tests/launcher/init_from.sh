#!/usr/bin/env bash
# init_from.sh TIMEPIPE MPIEXEC: runs that start from weights of other runs and of
# Hugging Face folders: what they keep of them, what they convert, and what they
# refuse; runs and weights that aren't finite.
source "$(dirname "$0")/common.sh"
timepipe=$1 mpiexec=$2
run() { "$timepipe" "$@" >out 2>err || fail "$*" err; }
wrong() { refused "$1" "$timepipe" "${@:2}"; }

cat >tiny.textproto <<'P'
model {
  hidden_size: 16 intermediate_size: 24 num_layers: 2 num_heads: 2
  mini_batch_size: 8 use_gate: true share_qk: true pre_conv: true
  initializer_range: 0.1
}
data { train: "text" sequence_length: 64 }
optimizer { steps: 3 lr: 1e-3 }
train { chunk_tokens: 16 }
P
seq 1 900 >text
train=(train tiny.textproto)
run "${train[@]}" run_dir=run
run checkpoint export run hf

# What a folder says of positions and ends of texts stays, over resumes and
# further runs.
sed -i 's/"max_position_embeddings": 64/"max_position_embeddings": 4096/
  s/"eos_token_id": null/"eos_token_id": [2, 3]/' hf/config.json
run "${train[@]}" run_dir=tuned init_from=hf optimizer.steps=1
! grep -q "isn't read" err || fail "not read at the start" err
run "${train[@]}" run_dir=tuned init_from=hf
grep -qxF "timepipe: init_from isn't read: the run goes on from \
tuned/checkpoints/step-000001" err || fail "init_from is ignored silently" err
run "${train[@]}" run_dir=again init_from=tuned
run checkpoint export again back
grep -q '"max_position_embeddings": 4096' back/config.json &&
  grep -A3 '"eos_token_id": \[' back/config.json | tr -d ' \n' |
  grep -q '\[2,3\]' || fail "another config.json" back/config.json
echo "ok: positions and ends of texts are kept"

# The end tokens of generation_config.json count, and go along.
echo '{"eos_token_id": [5, 7]}' >hf/generation_config.json
run "${train[@]}" run_dir=ends init_from=hf optimizer.steps=1
run checkpoint import hf ends2
for name in ends ends2; do
  run checkpoint export $name $name.hf
  tr -d ' \n' <$name.hf/config.json | grep -q '"eos_token_id":\[5,7\]' ||
    fail "other end tokens" $name.hf/config.json
done
rm hf/generation_config.json
echo "ok: end tokens of generation_config.json"

# Nor is the state that a run once started from read again.
run generate run --prompt 12345678 --max-new-tokens 0 --state-out state
carry=("${train[@]}" run_dir=carry data.carry_state=true data.start_state=state)
run "${carry[@]}" optimizer.steps=1
! grep -q "isn't read" err || fail "not read at the start" err
run "${carry[@]}"
grep -qxF "timepipe: data.start_state isn't read: the run goes on from \
carry/checkpoints/step-000001" err || fail "start_state is ignored silently" err
echo "ok: what a run began with isn't read again"

# A text ends at any of them: with these all, at once.
tr '\n' ' ' <back/config.json |
  sed "s/\[ *2, *3 *\]/[$(seq -s, 0 255)]/" >config
mv config back/config.json
run generate back --prompt a --max-new-tokens 4 --ids
grep -q '[0-9]' out && fail "went on after an end" out
run generate back --prompt a --max-new-tokens 4 --ids --ignore-eos
grep -qE '^([0-9]+ ){4}$' out || fail "no ids" out
echo "ok: a text ends at any of several ids"

# f32 and f64, there and back: a number of f32 is one of f64.
run "${train[@]}" run_dir=f64 init_from=run train.dtype=f64 optimizer.lr=1e-30 \
  optimizer.end_lr=0 optimizer.steps=1
run "${train[@]}" run_dir=f32 init_from=f64 optimizer.lr=1e-30 \
  optimizer.end_lr=0 optimizer.steps=1
grep -q '"dtype": "f64"' f64/checkpoints/step-000001/manifest.json ||
  fail "not in f64"
# The weight decay of such a rate changes nothing.
digest_of() { sed -n 's/^ "digest": "\(.*\)",$/\1/p' "$1/manifest.json"; }
[ "$(digest_of run/checkpoints/step-000003)" = "$(digest_of f32/checkpoints/step-000001)" ] ||
  fail "f32, f64 and back: other weights"
echo "ok: f32 and f64"

# A run of f32 goes on in bf16, from the same weights: both keep f32.
run "${train[@]}" run_dir=bf16 init_from=run train.dtype=bf16 \
  optimizer.lr=1e-30 optimizer.end_lr=0 optimizer.steps=1
grep -q '"dtype": "f32"' bf16/checkpoints/step-000001/manifest.json ||
  fail "the weights of bf16 aren't f32"
[ "$(digest_of run/checkpoints/step-000003)" = "$(digest_of bf16/checkpoints/step-000001)" ] ||
  fail "bf16: other weights"
loss_of() { grep -o '"loss": *[0-9.]*' "$1" | head -n 1; }
for dtype in f32 bf16; do
  run eval bf16 --data text --dtype $dtype --json in-$dtype
done
run eval bf16 --data text --json own
[ "$(loss_of own)" = "$(loss_of in-bf16)" ] || fail "eval isn't as trained" own
[ "$(loss_of own)" != "$(loss_of in-f32)" ] || fail "bf16 rounds nothing" own
run eval run --data text --dtype bf16 --json other
[ "$(loss_of own)" = "$(loss_of other)" ] || fail "the same weights, another loss"
run generate bf16 --prompt 12345678 --max-new-tokens 9 --temperature 0 --ids
run score bf16 --tokens text --logits logits
grep -aq '"dtype":"F32"' logits || fail "logits of another type"  # losses are F64
rm logits
run checkpoint export bf16 bf16.hf --dtype bf16
run eval bf16.hf --data text --dtype bf16 --json exported
echo "ok: from f32 to bf16"

# Another depth or width is named by its field.
wrong "model.num_layers: {" "${train[@]}" init_from=run model.num_layers=3
wrong "model.hidden_size: {" "${train[@]}" init_from=run model.hidden_size=32
wrong "model.num_layers: {" "${train[@]}" init_from=hf model.num_layers=1
wrong "model.intermediate_size: {" "${train[@]}" init_from=hf \
  model.intermediate_size=32
echo "ok: other models are named by the field"

# Moments go along: with one window of text and one rate, the next step of a run
# and the first of one that starts from it are the same bits, on other ranks too.
head -c 65 text >window
same=("${train[@]}" data.train=window optimizer.end_lr=1e-3)
run "${same[@]}" run_dir=a optimizer.steps=4 checkpoint.every=3
"$mpiexec" -n 2 "$timepipe" "${same[@]}" run_dir=b optimizer.steps=1 \
  init_from=a/checkpoints/step-000003 init_optimizer=true parallel.time=2 \
  >out 2>err || fail "init_optimizer on two ranks" err
[ "$(digest_of a/checkpoints/step-000004)" = "$(digest_of b/checkpoints/step-000001)" ] ||
  fail "another step than that of the run itself"
run "${same[@]}" run_dir=c optimizer.steps=1 \
  init_from=a/checkpoints/step-000003
[ "$(digest_of a/checkpoints/step-000004)" != "$(digest_of c/checkpoints/step-000001)" ] ||
  fail "moments make no difference"
run "${same[@]}" run_dir=b optimizer.steps=2 init_from=a init_optimizer=true
run "${same[@]}" run_dir=a optimizer.steps=5
[ "$(digest_of a/checkpoints/step-000005)" = "$(digest_of b/checkpoints/step-000002)" ] ||
  fail "not the same after a resume"
run checkpoint import hf imported
wrong "hf is a Hugging Face folder, which has no moments" "${train[@]}" \
  init_from=hf init_optimizer=true
wrong "has moments of no update" "${train[@]}" init_from=imported \
  init_optimizer=true
wrong "init_optimizer: true, expected false without init_from" \
  "${train[@]}" init_optimizer=true
echo "ok: moments go along"

# Weights that aren't finite: the last number of the file is NaN.
cp -r hf bad
printf '\0\0\300\177' | dd of=bad/model.safetensors bs=1 conv=notrunc \
  seek=$(($(stat -c %s hf/model.safetensors) - 4)) 2>dd
finite="bad: model.norm.weight: 1 of 16 numbers aren't finite, the first at [15]: nan"
wrong "$finite" "${train[@]}" run_dir=nan init_from=bad
[ ! -d nan/checkpoints/step-000003 ] || fail "saved what isn't finite"
wrong "$finite" eval bad --data text
wrong "$finite" score bad --tokens text --logits logits
[ ! -e logits ] || fail "logits of weights that aren't finite"
wrong "$finite" generate bad --prompt a
wrong "$finite" checkpoint import bad x
wrong "$finite" checkpoint verify-export bad
wrong "$finite" checkpoint export bad x
[ ! -e x ] || fail "a mistake left something"
# And results of weights that are: one embedding and the last scale are 1e30.
cp -r hf huge
begin=$((8 + $(od -An -tu8 -N8 hf/model.safetensors)))
for place in $((begin + 60)) $(($(stat -c %s hf/model.safetensors) - 4)); do
  printf '\312\362\111\161' | dd of=huge/model.safetensors bs=1 conv=notrunc \
    seek=$place 2>dd
done
wrong "logits from token 0 on: " eval huge --data text
wrong "logits from token 0 on: " score huge --tokens text --logits logits
wrong "logits from token 2 on: " generate huge --prompt abc
wrong "logits from token 0 on: " checkpoint import huge x
wrong "logits from token 0 on: " checkpoint verify-export huge
[ ! -e logits ] && [ ! -e x ] || fail "a mistake left something"
echo "ok: weights that aren't finite"

# A run that trained nothing isn't finished, nor one whose weights went beyond.
wrong "not trained: all 3 steps were skipped" "${train[@]}" run_dir=skipped \
  model.initializer_range=1e25
wrong "not trained: all 3 steps were skipped" "${train[@]}" run_dir=skipped \
  model.initializer_range=1e25
wrong "step 1: model." "${train[@]}" run_dir=beyond optimizer.lr=1e39 \
  optimizer.steps=1
[ ! -e beyond/checkpoints/step-000001/manifest.json ] ||
  fail "saved what isn't finite"
echo "ok: runs without an update"
