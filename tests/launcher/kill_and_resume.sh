#!/usr/bin/env bash
# kill_and_resume.sh TIMEPIPE MPIEXEC [KILLS]: runs that are killed, stopped,
# damaged or out of disk, and what their folders then hold. A run that is killed
# KILLS times at random moments and resumed each time, on one layout after the
# other, must end with the bits of the run that nobody disturbed.
source "$(dirname "$0")/common.sh"
timepipe=$1 mpiexec=$2 kills=${3:-4}
RANDOM=7

head -c 4500 "$(command -v bash)" | base64 -w0 >text
run=(train "$configs/demo.textproto" data.train=text data.sequence_length=2048
  train.chunk_tokens=256 model.hidden_size=64 model.intermediate_size=96
  data.batch=2 optimizer.steps=20 checkpoint.every=2)

"$timepipe" "${run[@]}" run_dir=whole >out || fail "undisturbed run" out
"$timepipe" "${run[@]}" run_dir=whole | grep -q '^finished: 20 steps' ||
  fail "a finished run isn't left alone"
[ "$(ls whole/checkpoints | wc -l)" -eq 3 ] || fail "keeps not 3 checkpoints"

# Stopped at step 7 on 4x1, at 13 on 2x2, ended by one process.
"$mpiexec" -n 4 "$timepipe" "${run[@]}" run_dir=moved parallel.time=4 \
  optimizer.warmup_steps=4 optimizer.steps=20 checkpoint.every=7 >out 2>&1 &
wait $! || fail "4x1" out
rm -rf moved/checkpoints/step-00001[4-9] moved/checkpoints/step-00002*
"$mpiexec" -n 4 "$timepipe" "${run[@]}" run_dir=moved parallel.time=2 \
  parallel.data=2 checkpoint.every=13 >out 2>&1 || fail "2x2" out
grep -q 'resumed after step 7' out || fail "2x2 did not resume" out
rm -rf moved/checkpoints/step-000020
"$timepipe" "${run[@]}" run_dir=moved >out 2>&1 || fail "one process" out
grep -q 'resumed after step 13' out || fail "did not resume at 13" out
"$timepipe" checkpoint diff whole moved || fail "other bits after moving"
[ "$(grep -c . moved/metrics.jsonl)" -eq 20 ] || fail "metrics" moved/metrics.jsonl
cmp <(grep -o '"digest":"[0-9a-f]*"' whole/metrics.jsonl) \
  <(grep -o '"digest":"[0-9a-f]*"' moved/metrics.jsonl) || fail "digests of the steps"

# What sequences carry goes along, through documents: stopped at step 5 on 2x2, at
# 7 on 3x1, at 10 on 1x2, ended by one process; other data are refused. In bf16
# what is kept is f32 as well.
for dtype in bf16 f32; do
  rm -rf carry carry4
  carry=("${run[@]}" data.carry_state=true data.documents=carry data.bos_id=101
    data.sequence_length=1024 optimizer.steps=12 train.dtype="$dtype")
  "$timepipe" "${carry[@]}" run_dir=carry >out || fail "carried states" out
  last=
  for stop in "5 2 2" "7 3 1" "10 1 2"; do
    read -r step time data <<<"$stop"
    "$mpiexec" -n $((time * data)) "$timepipe" "${carry[@]}" run_dir=carry4 \
      parallel.time="$time" parallel.data="$data" checkpoint.every="$step" \
      >out 2>&1 || fail "carried, $stop" out
    [ -z "$last" ] || grep -q "resumed after step $last\b" out ||
      fail "carried, $stop: did not resume" out
    last=$step
    for folder in carry4/checkpoints/*; do
      [ "$((10#${folder##*-}))" -eq "$step" ] || rm -rf "$folder"
    done
    "$timepipe" checkpoint verify carry4/checkpoints/* >out ||
      fail "carried states don't verify" out
    grep -q '"border": "halo_qk"' carry4/checkpoints/*/manifest.json ||
      fail "nothing is carried over step $step"
  done
  "$timepipe" "${carry[@]}" run_dir=carry4 >out 2>&1 || fail "carried, 1" out
  grep -q 'resumed after step 10\b' out || fail "carried: did not resume" out
  "$timepipe" checkpoint diff carry carry4 || fail "other bits of carried states"
  cmp <(grep -o '"digest":"[0-9a-f]*"' carry/metrics.jsonl) \
    <(grep -o '"digest":"[0-9a-f]*"' carry4/metrics.jsonl) ||
    fail "digests of the steps with carried states"
done
rm -rf carry4/checkpoints/step-000012
cp text kept
printf x | dd of=text bs=1 seek=5000 conv=notrunc 2>/dev/null
refused "data.train: text: not what carry4/checkpoints/step-000010 was" \
  "$timepipe" "${carry[@]}" run_dir=carry4
mv kept text
echo "ok: carried states on other layouts, same bits; other data refused"

# Killed two to four steps and a moment after it went on: the checkpoint of the
# first is whole by the third. The run is so long that none of them ends before.
layouts=("1 1 1" "2 2 1" "2 1 2" "1 1 1")
long=("${run[@]}" optimizer.steps=$((kills * 12)) checkpoint.every=1)
"$timepipe" "${long[@]}" run_dir=long >out || fail "long run" out
set -m  # a process group for each run
for ((k = 0; k < kills; ++k)); do
  read -r ranks time data <<<"${layouts[k % 4]}"
  command=("$timepipe")
  ((ranks == 1)) || command=("$mpiexec" -n "$ranks" "$timepipe")
  : >"out$k"
  "${command[@]}" "${long[@]}" run_dir="$work/killed" \
    parallel.time="$time" parallel.data="$data" >"out$k" 2>&1 &
  job=$!
  steps=$((RANDOM % 3 + 2))
  until [ "$(grep -c '^step [0-9]*/' "out$k")" -ge $steps ]; do
    kill -0 $job 2>/dev/null || fail "ended before it was killed" "out$k"
    read -rt 0.01 <> <(:) || true
  done
  read -rt "0.0$((RANDOM % 10))" <> <(:) || true
  kill -KILL -- "-$job" || fail "ended before it was killed" "out$k"
  pkill -KILL -f "run_dir=$work/killed" || true  # ranks have groups of their own
  wait $job 2>/dev/null || true
  job=
done
set +m
"$timepipe" "${long[@]}" run_dir="$work/killed" >out 2>&1 ||
  fail "after kills" out
resumed=$(cat out*[0-9] out | grep -c '^resumed after step' || true)
((resumed > kills / 2)) || fail "only $resumed runs of $((kills + 1)) resumed"
"$timepipe" checkpoint diff long killed || fail "other bits after $kills kills"
echo "ok: $kills kills, $resumed runs resumed, other layouts, same bits"

# Damage is named and passed over; nothing valid is not a fresh start.
newest=whole/checkpoints/step-000020 shard=shard-00000-of-00001.safetensors
cp -r whole damaged
printf x | dd of="damaged/checkpoints/step-000020/$shard" bs=1 seek=90000 \
  conv=notrunc 2>/dev/null
"$timepipe" checkpoint verify damaged/checkpoints/step-000020 >out &&
  fail "a flipped byte went unnoticed" out
grep -q "$shard: .*checksum" out || fail "the shard isn't named" out
cp -r damaged damaged3  # of three ranks, the one that sees it tells the others
"$mpiexec" -n 3 "$timepipe" "${run[@]}" run_dir=damaged3 parallel.time=3 \
  >out 2>&1 || fail "damaged, three ranks" out
[ "$(grep -c "broken checkpoint passed over: .*$shard" out)" -eq 1 ] ||
  fail "not told once" out
"$timepipe" checkpoint diff whole damaged3 || fail "other bits on three ranks"
"$timepipe" "${run[@]}" run_dir=damaged >out 2>&1 || fail "damaged" out
grep -q "broken checkpoint passed over: .*$shard" out || fail "not told" out
"$timepipe" checkpoint diff "$newest" damaged || fail "other bits after damage"
for folder in damaged/checkpoints/*; do truncate -s 50000 "$folder/$shard"; done
refused "$shard: 50000 bytes, expected" \
  "$timepipe" checkpoint diff damaged/checkpoints/step-000020 whole
"$timepipe" "${run[@]}" run_dir=damaged >out 2>&1 && fail "started afresh" out
grep -q 'expected a checkpoint, or a run folder with a valid one' out ||
  fail "no line about damage" out
sed -i 's,"shard-00000,"../shard-00000,' damaged/checkpoints/*/manifest.json
"$timepipe" checkpoint verify damaged/checkpoints/step-000020 >out && fail path
grep -q 'in this folder' out || fail "a path out of the folder" out
refused "model.num_layers: " "$timepipe" "${run[@]}" run_dir=whole \
  model.num_layers=3
refused "another model" "$timepipe" "${run[@]}" init_from=whole \
  checkpoint.every=0 model.num_layers=3
refused "text/" "$timepipe" "${run[@]}" run_dir=text/run
echo "ok: damage, other models and folders that can't be made are named"

# A disk that is full from step 3 on, as far as shards go.
cp -r whole full
rm -rf full/checkpoints/step-00002* full/checkpoints/step-000018
size=$(stat -c %s whole/checkpoints/step-000016/$shard)
(ulimit -f $((size / 1024 / 2)) &&
  exec "$timepipe" "${run[@]}" run_dir=full) >out 2>&1 && fail "full disk" out
grep -q 'rank 0: checkpoint not saved: .*File too large' out ||
  fail "the full disk isn't named" out
grep -q '^step 20/20' out || fail "training did not go on" out
(ulimit -f $((size / 1024 / 2)) && exec "$timepipe" "${run[@]}" run_dir=full \
  checkpoint.on_failure=stop) >out 2>&1 && fail "full disk, stop" out
grep -q '^step 20/20' out && fail "training went on" out
"$timepipe" checkpoint list full >out || fail "a valid checkpoint is gone" out
"$timepipe" "${run[@]}" run_dir=full >out 2>&1 || fail "after the full disk" out
"$timepipe" checkpoint diff whole full || fail "other bits after a full disk"
echo "ok: a full disk loses nothing"
