"""The recorded op list of Stable Diffusion 1.5: reading it, and what its ops cost. Plain Python, no torch."""

import json
from math import prod

# Operations of one output element, as the recording counts them; everything not named here counts none.
FLOPS_PER_ELEMENT = {
    "group_norm": 8,
    "layer_norm": 8,
    "silu": 5,
    "gelu": 8,
    "sigmoid": 8,
    "add": 1,
    "mul": 1,
    "div": 1,
}

# The kernels of ours that do the op's work; everything not named here is a map.
GROUPS = {
    "conv2d": "conv2d",
    "linear": "matmul",
    "scaled_dot_product_attention": "attention",
    "group_norm": "groupNorm",
    "layer_norm": "layerNorm",
    "cat": "copy",
    "interpolate": "other",
    "embedding": "other",
    "arange": "other",
    "argmax": "other",
}


def read(path):
    """Section name -> its ops in order (one dict object for equal ops)."""
    with open(path, encoding="utf8") as file:
        sections = json.load(file)["sections"]
    return {name: [s["ops"][i] for i in s["order"]] for name, s in sections.items()}


def group(op):
    return GROUPS.get(op["op"], "map")


def flops(op):
    """From the shapes that a replay would run; a multiply-add is 2, a causal mask halves nothing."""
    kind, shapes, out = op["op"], op["inputs"], op["output"]
    if kind == "conv2d":
        return 2 * prod(out) * prod(shapes[1][1:])
    if kind == "linear":
        return 2 * prod(out) * shapes[1][1]
    if kind == "scaled_dot_product_attention":
        (b, h, queries, depth), keys = shapes[0], shapes[1][2]
        return 4 * b * h * queries * keys * depth
    return FLOPS_PER_ELEMENT.get(kind, 0) * prod(out)


def parameters(op):
    """Shapes of the op's weights: the inputs after the first of layers, and an embedding's table."""
    if op["op"] in ("conv2d", "linear", "group_norm", "layer_norm", "embedding"):
        return op["inputs"][1:]
    return []


def totals(ops):
    """Kind -> {count, flops, params}."""
    out = {}
    for op in ops:
        sums = out.setdefault(op["op"], {"count": 0, "flops": 0, "params": 0})
        sums["count"] += 1
        sums["flops"] += flops(op)
        sums["params"] += sum(prod(shape) for shape in parameters(op))
    return out
