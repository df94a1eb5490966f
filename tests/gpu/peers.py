"""Times the inner loop of TTT layers as others wrote it, on a CUDA device:

    peers.py RESULT.json [--official ttt.py] [--tokens 2048] [--device cuda]

official: the layers of the authors' PyTorch code (file ttt.py of the public
repository test-time-training/ttt-lm-pytorch), their method `ttt`.
fla: chunk_ttt_linear of fla-core. Both get queries, keys and values after RoPE,
as `timepipe bench kernels` gives them to ttt_scan. A peer that isn't there, or
fails, is named with the reason. RESULT.json is written after each figure.
"""

import argparse
import json
import statistics
import sys
import time
import types

import torch
import torch.nn.functional as F

SIZES = {"125m": (768, 12), "1.3b": (2048, 32)}  # hidden size, heads
MINI_BATCH = 16


def stand_in_for_transformers():
    """The names that ttt.py imports of the package; its layers use none."""

    class Config:
        def __init__(self, **fields):
            self.__dict__.update(fields)

    class Model(torch.nn.Module):
        pass

    names = {
        "transformers": {"PretrainedConfig": Config},
        "transformers.activations": {"ACT2FN": {"silu": F.silu}},
        "transformers.modeling_outputs": {
            "BaseModelOutputWithPast": dict,
            "CausalLMOutputWithPast": dict,
        },
        "transformers.modeling_utils": {"PreTrainedModel": Model},
        "transformers.utils": {
            "ModelOutput": dict,
            "logging": types.SimpleNamespace(
                get_logger=lambda name: types.SimpleNamespace(
                    warning_once=lambda text: None
                )
            ),
        },
        "transformers.utils.import_utils": {
            "is_causal_conv1d_available": lambda: False
        },
    }
    for name, attributes in names.items():
        module = types.ModuleType(name)
        module.__dict__.update(attributes)
        sys.modules[name] = module


def official_layer(path, inner, size, device):
    stand_in_for_transformers()
    module = types.ModuleType("official_ttt")
    sys.modules["official_ttt"] = module
    with open(path) as file:
        exec(compile(file.read(), path, "exec"), module.__dict__)
    hidden, heads = SIZES[size]
    config = module.TTTConfig(
        hidden_size=hidden,
        num_attention_heads=heads,
        mini_batch_size=MINI_BATCH,
        ttt_base_lr=1.0 if inner == "linear" else 0.1,
        # As the authors train: what a group of 4 mini-batches keeps is computed
        # again.
        scan_checkpoint_group_size=4,
    )
    kind = module.TTTLinear if inner == "linear" else module.TTTMLP
    return kind(config, layer_idx=0).to(device)


def official(path, inner, size, dtype, tokens, device):
    layer = official_layer(path, inner, size, device).to(dtype)
    hidden, heads = SIZES[size]
    rows = lambda: torch.randn(
        1, heads, tokens, hidden // heads, device=device, dtype=dtype
    )
    x = torch.randn(1, tokens, hidden, device=device, dtype=dtype)
    inputs = {"XQ": rows(), "XK": rows(), "XV": rows(), "X": x}
    wanted = [inputs["XQ"], inputs["XK"], inputs["XV"]]
    for tensor in wanted:
        tensor.requires_grad_(True)

    def forward():
        y, _ = layer.ttt(
            layer.get_ttt_inputs(inputs, MINI_BATCH, None),
            mini_batch_size=MINI_BATCH,
            last_mini_batch_params_dict=None,
        )
        return y

    return forward, wanted + list(layer.parameters())


def fla(inner, size, dtype, tokens, device):
    if inner != "linear":
        raise ValueError("TTT-Linear only")
    from fla.ops.ttt import chunk_ttt_linear

    hidden, heads = SIZES[size]
    head = hidden // heads
    rows = lambda: torch.randn(1, tokens, heads, head, device=device, dtype=dtype)
    q, k, v = rows(), rows(), rows()
    eta = torch.rand(1, tokens, heads, 1, device=device, dtype=dtype) / head
    w = torch.ones(heads, head, device=device, dtype=dtype)
    b = torch.zeros(heads, head, device=device, dtype=dtype)
    state = 0.02 * torch.randn(1, heads, head, head, device=device)
    bias = torch.zeros(1, heads, 1, head, device=device)
    wanted = [q, k, v, eta, w, b, state, bias]
    for tensor in wanted:
        tensor.requires_grad_(True)

    def forward():
        y, _, _ = chunk_ttt_linear(
            q, k, v, w, b, eta,
            scale=1.0,
            chunk_size=MINI_BATCH,
            initial_state=state,
            initial_state_bias=bias,
        )
        return y

    return forward, wanted


def microseconds(call, device, rounds=5, seconds=1.0):
    def one():
        if device == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    one()  # what only the first does: compilation, caches
    took = [one()]
    while len(took) < rounds and sum(took) < seconds:
        took.append(one())
    return 1e6 * statistics.median(took)


def measure(make, tokens, device):
    forward, wanted = make()
    gradient = torch.randn_like(forward())

    def both():
        torch.autograd.grad(forward(), wanted, gradient, allow_unused=True)

    with torch.no_grad():
        alone = microseconds(forward, device)
    whole = microseconds(both, device)
    mini_batches = tokens / MINI_BATCH
    return {
        "forward_us_per_mini_batch": alone / mini_batches,
        "forward_backward_us_per_mini_batch": whole / mini_batches,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("result")
    parser.add_argument("--official", help="ttt.py of the authors")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.manual_seed(0)
    result = {"torch": torch.__version__, "tokens": options.tokens}
    shapes = [
        (inner, size, dtype)
        for size in SIZES
        for inner in ("linear", "mlp")
        for dtype in (torch.float32, torch.bfloat16)
    ]
    for inner, size, dtype in shapes:
        common = (inner, size, dtype, options.tokens, options.device)
        peers = {"fla": lambda: fla(*common)}
        if options.official:
            peers["official"] = lambda: official(options.official, *common)
        for name, make in peers.items():
            key = f"{name} {inner} {size} {str(dtype).removeprefix('torch.')}"
            try:
                result[key] = measure(make, options.tokens, options.device)
            except Exception as error:  # whatever a peer fails of
                result[key] = {"failed": f"{type(error).__name__}: {error}"[:300]}
            print(key, result[key], flush=True)
            with open(options.result, "w") as file:
                json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
