#!/usr/bin/env bash
# limits.sh TIMEPIPE: memory that ends, standard streams that are closed, and
# output that nobody reads.
source "$(dirname "$0")/common.sh"
timepipe=$1

head -c 100000 "$timepipe" | tr -c 'a-z\n' ' ' >text.txt
small=(train "$configs/demo.textproto" data.train=text.txt model.hidden_size=64
  model.intermediate_size=96 model.num_layers=1 data.sequence_length=256
  train.chunk_tokens=64 optimizer.steps=6)

# out_of_memory KIB COMMAND...: within so many KiB of addresses.
out_of_memory() {
  local kib=$1 status=0
  shift
  (ulimit -v "$kib" && exec "$timepipe" "$@") >out 2>&1 || status=$?
  [ "$status" -eq 1 ] || fail "status $status: $*" out
  grep -q '^timepipe: .*out of memory: ' out || fail "not said: $*" out
  ! grep -qE 'bad_alloc|terminate|@ 0x' out || fail "a crash: $*" out
}
out_of_memory 400000 "${small[@]}" model.hidden_size=2048 model.num_heads=32 \
  model.intermediate_size=4096 model.num_layers=8
for part in 'out of memory: 1.[0-9]* GiB more for parameters; held: ' ' parameters [0-9.]* MiB, activations ' \
  'less is needed with fewer train.hot_rounds'; do
  grep -q "$part" out || fail "lacks '$part'" out
done
for field in $(grep -oE '(data|model|parallel|train)\.[a-z_]+' out | cut -d. -f2); do
  grep -qw "$field" "$configs/schema/timepipe.proto" || fail "no field $field" out
done
{
  printf '{"text": "'
  head -c 60000000 /dev/zero | tr '\0' a
  printf '"}\n'
} >long.jsonl
out_of_memory 260000 data prepare long.jsonl --threads 1 \
  --out none.safetensors
grep -q 'this process holds .* of 253.9 MiB of addresses' out ||
  fail "lacks what is held" out
[ ! -e none.safetensors ] || fail "a file is left"
echo "ok: out of memory says what was asked and what is held"

"$timepipe" data prepare text.txt --out open.safetensors >out 2>&1 ||
  fail prepare out
for closed in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
  eval "\"\$timepipe\" data prepare text.txt --out closed.safetensors \
    --overwrite $closed" >/dev/null 2>&1 || fail "closed: $closed"
  cmp open.safetensors closed.safetensors || fail "another file: $closed"
done
"$timepipe" "${small[@]}" run_dir=read >out 2>&1 || fail train out
"$timepipe" "${small[@]}" run_dir=closed <&- >&- 2>&- || fail "train, closed"
"$timepipe" checkpoint diff read closed >out 2>&1 || fail "closed: diff" out
[ "$(wc -l <closed/metrics.jsonl)" -eq 6 ] || fail "closed: metrics"
echo "ok: closed streams"

# A pipe whose reader is gone.
exec 4> >(exec true)
wait $!
"$timepipe" "${small[@]}" run_dir=unread >&4 2>&1 || fail "train, unread"
"$timepipe" checkpoint diff read unread >out 2>&1 || fail "unread: diff" out
status=0
"$timepipe" generate read --prompt a --max-new-tokens 5 >&4 2>err || status=$?
[ "$status" -ne 0 ] || fail "generate: status 0 though nobody reads"
[ ! -s err ] || fail "generate: not quiet" err
echo "ok: a log that nobody reads"
