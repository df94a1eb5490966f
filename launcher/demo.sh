#!/usr/bin/env bash
# The demonstration, from a bare Debian machine to a trained model: sequences of
# the King James Bible, each shared by two time ranks; a text that the model
# writes; and how well it predicts the end of the Bible, which it was not
# trained on, beside n-gram models.
#   launcher/demo.sh                       about 5 minutes of training on 2 cores
#   launcher/demo.sh optimizer.steps=20    overrides; they get a run of their own
#   launcher/demo.sh data.train=book.txt   another text
# A run that was interrupted goes on, a finished one is evaluated again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ranks=2 config=configs/demo.textproto
readonly timepipe=build/release/bin/timepipe
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

step=0
heading() { printf '\n== %d of 7: %s\n' $((++step)) "$1"; }

text=build/demo/bible.txt
run_dir=build/demo/run
if (($#)); then
  name=$(tr -c 'A-Za-z0-9.=_\n-' _ <<<"$*")
  run_dir+=-${name:0:100}
fi
for override in "$@"; do
  case $override in
    data.train=*) text=${override#*=} ;;
    run_dir=*) run_dir=${override#*=} ;;
  esac
done

heading "What is missing is installed"
launcher/setup.sh

heading "timepipe is built; the first time takes minutes"
cmake --preset release >/dev/null
cmake --build --preset release --target timepipe

heading "The text"
mkdir -p build/demo
if [[ $text == build/demo/bible.txt && ! -s $text ]]; then
  bible -f gen1:1-rev22:21 >"$text.part"
  mv "$text.part" "$text"
fi
held_out=$("$timepipe" config "$config" "$@" | sed -n 's/^ *held_out: *//p')
echo "$text: $(wc -c <"$text") bytes, a byte is a token"
echo "Its last $held_out is held out: never trained on"

heading "Training; $ranks ranks share every sequence"
echo "They compute chunks in turns. What goes from one to the other is the hidden"
echo "state, and its gradient back; one process would get the same bits."
mpirun -n "$ranks" --oversubscribe --bind-to none \
  "$timepipe" train "$config" data.train="$text" parallel.time="$ranks" \
  checkpoint.every=50 eval.every=50 eval.sequences=2 "$@" run_dir="$run_dir"

heading "Evaluation on the held-out text"
"$timepipe" eval "$run_dir" --data "$text" --held-out \
  --json build/demo/eval.json

heading "The model goes on after \"And God said\""
"$timepipe" generate "$run_dir" --prompt "And God said" \
  --max-new-tokens 400 --temperature 0.8 --seed 1 >build/demo/sample.txt
printf 'And God said'
cat build/demo/sample.txt
echo

heading "Beside n-gram models"
"$timepipe" data ngram --train "$text" --held-out "$held_out" \
  >build/demo/ngram.txt
ngram() { awk -v name="$1" '$1 == name { print $2 }' build/demo/ngram.txt; }
model=$(sed -n 's/^ *"bits_per_byte": *\([0-9.]*\).*/\1/p' build/demo/eval.json)
echo "Bits per byte of the same held-out bytes, after learning from the same others:"
for name in bigram trigram 4-gram; do
  printf '  %-11s %.4f\n' "$name" "$(ngram "$name")"
done
printf '  %-11s %.4f  %s\n' TTT-Linear "$model" "($run_dir)"
echo
sed -n '/^Interpolated/,$p' build/demo/ngram.txt

cat <<EOF

The run is in $run_dir; it starts afresh after: rm -r $run_dir
  $timepipe generate $run_dir --prompt "In the beginning"
  $timepipe --help
EOF
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 < b + 0) }'; }
if (($# == 0)) && ! below "$model" "$(ngram trigram)"; then
  echo "demo.sh: the model is no better than the trigram model" >&2
  exit 1
fi
