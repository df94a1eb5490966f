"""Errors of a TTT language model in mixed precision (bf16).

    python3 bf16_reference.py FOLDER [--exact | --without POINT]

Runs every model_* and module_* case of FOLDER forward and backward and prints,
per quantity, |a - b| / |b| (L2 norms; for the loss |a - b|) against the stored
float64 values. The arithmetic is float64; values are rounded to bfloat16 at the
points listed in POINTS and nowhere else. Where a value lies near the middle of
two, the last bits of float32 arithmetic decide: the error is the largest of
RUNS, in each of which others do.
B batch, L length, H hidden size, nh heads, f = H / nh, K mini-batch size.
"""

import argparse
import json
import math
import pathlib
import struct

import numpy as np

from tape import Tensor, concat, cross_entropy, sigmoid, tanh

# Every rounding point: a name, where it is. "d" in front: a gradient.
POINTS = (
    # Weights, in both of their products. w_head is the output embedding; the
    # lookup of the input is not rounded.
    "w_q", "w_k", "w_v", "w_o", "w_g", "w_gate", "w_up", "w_down", "w_head",
    # Input of the TTT layer; with share_qk the output p of q_proj; q, k before
    # the rotation, v, q and k after it; output of g_proj; input of o_proj.
    "u", "p", "q", "k", "v", "q_rope", "k_rope", "g", "z",
    # Input of the MLP, outputs of gate_proj and up_proj, input of down_proj;
    # input of the head.
    "m", "a", "b", "h", "n",
    # Gradients of the logits, of the outputs of down_proj and o_proj, of h, a
    # and b, and of z (only with use_gate) and g.
    "dlogits", "d_down", "d_o", "dh", "da", "db", "dz", "dg",
    # Gradients out of the scan; of q, k before the rotation; of p.
    "dq_rope", "dk_rope", "dv", "dq", "dk", "dp",
)


RUNS = 16  # the first without noise
NOISE = 2.0**-23


def bf16(x):
    """Nearest bfloat16 (8 significant bits, ties to even), as float64."""
    exponent = np.maximum(np.frexp(x)[1], -125)  # subnormals: one spacing
    return np.ldexp(np.rint(np.ldexp(x, 8 - exponent)), exponent - 8)


class Rounding:
    """At the points that are switched on, in a run with noise of its own."""

    def __init__(self, points, run):
        self.points = points
        self.noise = np.random.default_rng(run) if run else None

    def rounded(self, x):
        if self.noise:
            x = x * (1 + NOISE * self.noise.standard_normal(x.shape))
        return bf16(x)

    def value(self, x, point):
        """x rounded; its gradient passes unchanged."""
        if point not in self.points:
            return x
        return Tensor(self.rounded(x.value), (x, lambda d: d))

    def grad(self, x, point):
        """x unchanged; its gradient is rounded on its way back."""
        if point not in self.points:
            return x
        return Tensor(x.value, (x, self.rounded))


def rms_norm(x, weight, eps):
    return weight * x * ((x * x).mean() + eps)**-0.5


def standardize(x):
    """(x - mean) / std over the last axis, and 1 / std."""
    centered = x - x.mean()
    rstd = ((centered * centered).mean() + 1e-6)**-0.5
    return centered * rstd, rstd


def gelu(x):
    inner = math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)
    return 0.5 * x * (1 + tanh(inner))


def inner_gelu_derivative(x):
    """gelu' as the inner gradient has it: the constants are truncated."""
    t = tanh(0.79788456 * x * (1 + 0.044715 * x * x))
    slope = 0.79788456 + 0.1070322243 * x * x
    return 0.5 * x * (1 - t * t) * slope + 0.5 * (1 + t)


def causal_conv(x, weight, bias):
    """Depthwise. x [B,L,H], weight [H,1,taps], bias [H]."""
    batch, length, hidden = x.shape
    taps = weight.shape[-1]
    padded = concat([Tensor(np.zeros((batch, taps - 1, hidden))), x], 1)
    return sum((weight[:, 0, j] * padded[:, j:j + length]
                for j in range(taps)), bias)


def rope(x, theta, mini_batch):
    """x [B,nh,L,f]; rotates pairs (2i, 2i+1); the position is t mod K."""
    length, f = x.shape[-2:]
    position = np.arange(length)[:, None] % mini_batch
    angle = np.repeat(position * theta**(-np.arange(0, f, 2) / f), 2, axis=1)
    turn = np.kron(np.eye(f // 2), [[0, 1], [-1, 0]])  # (a, b) -> (-b, a)
    return x * np.cos(angle) + (x @ turn) * np.sin(angle)


def loss_gradient(z, target, gain, bias):
    """Gradient of 1/2 |LN(z) - target|^2 with respect to z."""
    unit, rstd = standardize(z)
    d = gain * (gain * unit + bias - target)
    return rstd * (d - d.mean() - unit * (d * unit).mean())


def scan(q, k, v, lr, tok, w, mini_batch):
    """q, k, v [B,nh,L,f], lr [B,nh,L], tok [K]: outputs, last states."""
    gain, shift = w["ttt_norm_weight"][:, None], w["ttt_norm_bias"][:, None]
    state = {s: w[s] for s in ("W1", "b1", "W2", "b2") if s in w}
    length, outputs = q.shape[2], []
    for start in range(0, length, mini_batch):
        here = slice(start, min(start + mini_batch, length))
        n = here.stop - start
        qs, ks, vs = q[:, :, here], k[:, :, here], v[:, :, here]
        rate = lr[:, :, None, here]
        eta = tok[:n, None] * rate * np.tri(n)  # [.., reader, writer]

        def forward(x, layer):
            return x @ state[f"W{layer}"] + state[f"b{layer}"]

        def read(x, inputs, grads, layer):
            """Output for x [n rows] of the layer that this token sees."""
            return forward(x, layer) - (eta * (x @ inputs.swap() + 1)) @ grads

        def after(inputs, grads, layer):
            """The layer's weights after this mini-batch."""
            step = rate.swap() * grads * tok[n - 1]
            return {f"W{layer}": state[f"W{layer}"] - inputs.swap() @ step,
                    f"b{layer}": state[f"b{layer}"] - step.sum(-2)}

        z = forward(ks, 1)
        if "W2" in state:
            x = gelu(z)
            d_out = loss_gradient(forward(x, 2), vs - ks, gain, shift)
            d_z = (d_out @ state["W2"].swap()) * inner_gelu_derivative(z)
            out = read(gelu(read(qs, ks, d_z, 1)), x, d_out, 2)
            state = after(ks, d_z, 1) | after(x, d_out, 2)
        else:
            d_z = loss_gradient(z, vs - ks, gain, shift)
            out = read(qs, ks, d_z, 1)
            state = after(ks, d_z, 1)
        outputs.append(qs + gain * standardize(out)[0] + shift)
    return concat(outputs, 2), state


def project(x, w, name, r):
    return x @ r.value(w[f"{name}_proj.weight"], f"w_{name}").swap()


def ttt_layer(u, w, config, r):
    """u [B,L,H], already rounded. Returns [B,L,H] and the states."""
    batch, length, hidden = u.shape
    heads, mini_batch = config["num_attention_heads"], config["mini_batch_size"]

    def split(x):
        return x.reshape(batch, length, heads, hidden // heads).swap(1, 2)

    def rotated(x, name):
        x = r.grad(r.value(split(x), name), f"d{name}")
        x = r.value(rope(x, config["rope_theta"], mini_batch), f"{name}_rope")
        return r.grad(x, f"d{name}_rope")

    if config["share_qk"]:
        p = r.grad(r.value(project(u, w, "q", r), "p"), "dp")
        q = causal_conv(p, w["conv_q.weight"], w["conv_q.bias"])
        k = causal_conv(p, w["conv_k.weight"], w["conv_k.bias"])
    else:
        q, k = project(u, w, "q", r), project(u, w, "k", r)
    v = r.grad(r.value(split(project(u, w, "v", r)), "v"), "dv")

    rate = u @ w["learnable_ttt_lr_weight"][:, 0].swap()
    rate = sigmoid(rate + w["learnable_ttt_lr_bias"][:, 0])
    lr = (config["ttt_base_lr"] * heads / hidden * rate).swap(1, 2)
    tok = w["learnable_token_idx"] + 1 / np.arange(1, mini_batch + 1)
    tok = tok * (tok.value > 0)

    o, state = scan(rotated(q, "q"), rotated(k, "k"), v, lr, tok, w, mini_batch)
    o = o.swap(1, 2).reshape(batch, length, hidden)
    z = w["post_norm.weight"] * standardize(o)[0] + w["post_norm.bias"]
    if config["use_gate"]:
        g = r.grad(r.value(project(u, w, "g", r), "g"), "dg")
        z = r.grad(z * gelu(g), "dz")
    return r.grad(project(r.value(z, "z"), w, "o", r), "d_o"), state


def swiglu(m, w, r):
    a = r.grad(r.value(project(m, w, "gate", r), "a"), "da")
    b = r.grad(r.value(project(m, w, "up", r), "b"), "db")
    h = r.grad(r.value(a * sigmoid(a) * b, "h"), "dh")
    return r.grad(project(h, w, "down", r), "d_down")


def within(weights, prefix):
    """The weights whose names begin with prefix, without it."""
    return {name.removeprefix(prefix): x for name, x in weights.items()
            if name.startswith(prefix)}


def model(ids, weights, config, r):
    """ids [B,L]. Returns the logits [B,L,V] and the states by name."""
    eps = config["rms_norm_eps"]
    embedding = weights["model.embed_tokens.weight"]
    x, states = embedding[ids], {}
    for i in range(config["num_hidden_layers"]):
        w = within(weights, f"model.layers.{i}.")
        if config["pre_conv"]:
            x = x + causal_conv(rms_norm(x, w["conv.norm.weight"], eps),
                                w["conv.conv.weight"], w["conv.conv.bias"])
        u = r.value(rms_norm(x, w["seq_norm.weight"], eps), "u")
        y, state = ttt_layer(u, within(w, "seq_modeling_block."), config, r)
        states |= {f"state.{i}.{name}": s.value for name, s in state.items()}
        x = x + y
        m = r.value(rms_norm(x, w["ffn_norm.weight"], eps), "m")
        x = x + swiglu(m, within(w, "mlp."), r)
    n = r.value(rms_norm(x, weights["model.norm.weight"], eps), "n")
    head = weights.get("lm_head.weight", embedding)
    return r.grad(n @ r.value(head, "w_head").swap(), "dlogits"), states


def read_safetensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    types = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
    header.pop("__metadata__", None)
    def tensor(entry):
        begin, end = (8 + size + n for n in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], types[entry["dtype"]])
        return array.reshape(entry["shape"])
    return {name: tensor(entry) for name, entry in header.items()}


def run_case(folder, points):
    """The largest errors of all quantities of one case.

    In half of the runs the loss of a model is a mean over three copies of the
    sequences: their gradients are rounded after a division by three.
    """
    runs = [errors_of(folder, Rounding(points, run), 1 + run % 2 * 2)
            for run in range(RUNS)]
    return {name: float(f"{max(run[name] for run in runs):.3g}")
            for name in runs[0]}


def errors_of(folder, r, copies):
    Tensor.tape.clear()
    config = json.loads((folder / "config.json").read_text())
    weights = {name: Tensor(x) for name, x in
               read_safetensors(folder / "weights.safetensors").items()}
    case = read_safetensors(folder / "case.safetensors")
    if folder.name.startswith("model_"):
        logits, got = model(case["input_ids"], weights, config, r)
        loss = cross_entropy(logits, case["targets"])
        loss.backward(1 / copies)
        got |= {"logits": logits.value, "loss": loss.value.reshape(1)}
    else:
        x = Tensor(case["x"])
        y, state = ttt_layer(r.value(x, "u"), weights, config, r)
        y.backward(case["cot.y"] / copies)
        got = {f"state.{name}": s.value for name, s in state.items()}
        got |= {"y": y.value, "grad.x": copies * x.grad}
    got |= {f"grad.{name}": copies * x.grad for name, x in weights.items()}

    errors = {}
    for name in sorted(got):
        assert got[name].shape == case[name].shape, name
        scale = 1.0 if name == "loss" else np.linalg.norm(case[name])
        error = np.linalg.norm(got[name] - case[name]) / scale
        errors[name] = error
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="the golden cases")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--exact", action="store_true", help="round nowhere")
    choice.add_argument("--without", choices=POINTS, metavar="POINT",
                        help="leave one out of " + ", ".join(POINTS))
    args = parser.parse_args()
    points = () if args.exact else set(POINTS) - {args.without}
    cases = sorted(args.folder.glob("mod*_*"))
    if not cases:
        parser.error(f"{args.folder}: expected model_* or module_* cases")
    lines = [f'"{case.name}": {json.dumps(run_case(case, points))}'
             for case in cases]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
