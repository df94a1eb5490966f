#!/usr/bin/env bash
# tests/left_out_roundings.sh: that no point at which a model rounds to bf16 can
# be left out unseen. Compiles a source of models/ in which one tensor stays f32,
# or one product reads the f32 weights, links it into golden_check and runs two
# models in bf16, which must fail. After a release build; about five minutes.
# What kernels round themselves is in tests/kernels/bf16_test.cc.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

# Source and what is changed in it.
block=models/block.cc ttt=models/layers/ttt.cc
backward=models/layers/ttt_backward.cc head=models/language_model.cc
changes=(
  "$block|s/slab.u = take(rows, compute)/slab.u = take(rows, state)/"
  "$block|s/intermediate_size}, compute)/intermediate_size}, state)/"
  "$block|0,/Tensor m = ctx.allocate(x2.shape(), a.dtype())/s//Tensor m = ctx.allocate(x2.shape(), x2.dtype())/"
  "$block|s/Tensor h = ctx.allocate(a.shape(), a.dtype())/Tensor h = ctx.allocate(a.shape(), x2.dtype())/"
  "$block|s/Tensor h = scratch(a)/Tensor h = ctx.allocate(a.shape(), x2.dtype())/"
  "$block|s/dh = scratch(a)/dh = ctx.allocate(a.shape(), x2.dtype())/"
  "$block|s/da = scratch(a)/da = ctx.allocate(a.shape(), x2.dtype())/"
  "$block|s/db = scratch(a)/db = ctx.allocate(a.shape(), x2.dtype())/"
  "$block|s/a.dtype()), dm = /x2.dtype()), dm = /"
  "$block|s/operand_of(ctx, dx, weights_->precision())/dx/"
  "$block|s/operand(gate_)/weight(gate_)/"
  "$block|s/operand(up_)/weight(up_)/"
  "$block|s/operand(down_)/weight(down_)/"
  "$ttt|s/&slab->xk, &slab->xv}) \*t = take(rows, compute)/\&slab->xk, \&slab->xv}) *t = take(rows, state)/"
  "$ttt|s/{&slab->xq, &slab->xk, &slab->xv}/{\&slab->xk, \&slab->xv}/;s/slab->tok = /slab->xq = take(rows, state), slab->tok = /"
  "$ttt|s/{&slab->xq, &slab->xk, &slab->xv}/{\&slab->xq, \&slab->xv}/;s/slab->tok = /slab->xk = take(rows, state), slab->tok = /"
  "$ttt|s/{&slab->xq, &slab->xk, &slab->xv}/{\&slab->xq, \&slab->xk}/;s/slab->tok = /slab->xv = take(rows, state), slab->tok = /"
  "$ttt|s/slab->p = take(rows, compute)/slab->p = take(rows, state)/"
  "$ttt|s/slab->g = take(rows, compute)/slab->g = take(rows, state)/"
  "$ttt|s/o.dtype() : weights_->precision().compute/o.dtype() : o.dtype()/"
  "$ttt|s/Tensor z = ctx.allocate(g.shape(), g.dtype())/Tensor z = ctx.allocate(g.shape(), o.dtype())/"
  "$ttt|0,/operand(wq_)/s//weight(wq_)/"
  "$ttt|s/operand(wq_), xq/weight(wq_), xq/"
  "$ttt|s/operand(wk_)/weight(wk_)/"
  "$ttt|s/operand(wv_)/weight(wv_)/"
  "$ttt|s/operand(wg_)/weight(wg_)/"
  "$ttt|s/operand(wo_)/weight(wo_)/"
  "$backward|s/{&d.xq, &d.xk, &d.xv}/{\&d.xk, \&d.xv}/;s/d.o = take/d.xq = take(rows, state), d.o = take/"
  "$backward|s/{&d.xq, &d.xk, &d.xv}/{\&d.xq, \&d.xv}/;s/d.o = take/d.xk = take(rows, state), d.o = take/"
  "$backward|s/{&d.xq, &d.xk, &d.xv}/{\&d.xq, \&d.xk}/;s/d.o = take/d.xv = take(rows, state), d.o = take/"
  "$backward|s/d.g = take(rows, compute)/d.g = take(rows, state)/"
  "$backward|s/operand_of(ctx, dy, weights_->precision())/dy/"
  "$backward|s/Tensor z = ctx.allocate(g.shape(), g.dtype())/Tensor z = ctx.allocate(g.shape(), o.dtype())/"
  "$backward|s/Tensor dz = ctx.allocate(g.shape(), g.dtype())/Tensor dz = ctx.allocate(g.shape(), o.dtype())/"
  "$backward|s/operand_of(ctx, d.p, weights_->precision())/d.p/"
  "$head|s/table = weights_->operand(head_)/table = weights_->value(head_)/"
  "$head|s/Tensor n = ctx.allocate(y.shape(), table.dtype())/Tensor n = ctx.allocate(y.shape(), y.dtype())/"
  "models/layers/sequence_layer.cc|s/weights.operand(w)/weights.value(w)/"
)

build=$PWD/build/release
directory=$(mktemp -d)
trap 'rm -r "$directory"' EXIT
link=$(ninja -C "$build" -t commands bin/golden_check | tail -n 1)
link=${link/-o bin\/golden_check/-o $directory/golden_check $directory/changed.o}
check() { # check PROGRAM
  "$1" tests/golden/model_mlp_mamba_rem tests/golden/model_linear_tf_rem \
    --chunk 16 --dtype bf16 --errors tests/golden/bf16_errors.json
}
check "$build/bin/golden_check" >"$directory/log" ||
  { echo "fails as it is" >&2 && exit 1; }
for change in "${changes[@]}"; do
  source=${change%%|*} edit=${change#*|}
  sed "$edit" "$source" >"$directory/changed.cc"
  if cmp -s "$source" "$directory/changed.cc"; then
    echo "$source has no such place: $edit" >&2
    exit 1
  fi
  "${CXX:-c++}" -std=c++20 -fopenmp -I. -I"$build/configs" \
    -c "$directory/changed.cc" -o "$directory/changed.o"
  (cd "$build" && eval "$link") >/dev/null
  if check "$directory/golden_check" >"$directory/log" 2>&1; then
    echo "FAILED: nobody sees $edit in $source" >&2
    exit 1
  fi
  grep -h -m 1 -E 'FAIL worst' "$directory/log" | sed 's/.*tolerance//'
done
echo "ok: ${#changes[@]} roundings, none can be left out"
