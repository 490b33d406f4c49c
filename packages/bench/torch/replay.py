"""Replays the op list of Stable Diffusion 1.5 in torch, channels-last: the same work that Darkroom is timed on.

Usage: python3 replay.py OPS.json [--modes float16,tf32,float32] [--parts unet,vae,text] [--seconds 90] [--json FILE] [--count | --check]

Prints one JSON. --json FILE is rewritten after every measurement, so that a killed run keeps what it has. --count needs
no torch and prints what the list costs; --check needs no GPU and compares every op's output shape with the list.

Every op has weights of its own, since a model's do not fit the cache; activations of one shape share one tensor. Each
gets its input in the format a chain would want, so copies between formats that a real model pays are not counted here:
this is torch at its best.
"""

import argparse
import json
import os
import sys
import time
from math import prod

import op_list

START = time.monotonic()
PARENT = os.getppid()
REPEATS = 20
SETTLED = 0.01  # warm-up ends when three runs agree this well


class Replay:
    """The calls of one section, ready to run."""

    def __init__(self, torch, ops, dtype, device):
        self.torch, self.dtype, self.device = torch, dtype, device
        self.shared = {}
        self.calls = [(op_list.group(op), op, self.call(op)) for op in ops]

    def random(self, shape, scale=1.0):
        torch = self.torch
        x = torch.randn(shape, device=self.device, dtype=self.dtype) * scale
        return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x

    def activation(self, shape, place):
        """One tensor for each shape and place among an op's inputs."""
        key = (tuple(shape), place)
        if key not in self.shared:
            self.shared[key] = self.random(shape)
        return self.shared[key]

    def heads(self, shape, place):
        """[b, heads, length, depth] as a view of what a linear layer writes: [b, length, heads * depth]."""
        b, h, length, depth = shape
        return self.activation([b, length, h * depth], place).view(b, length, h, depth).transpose(1, 2)

    def call(self, op):
        torch, f = self.torch, self.torch.nn.functional
        kind, shapes, out = op["op"], op["inputs"], op["output"]
        weights = [self.random(s, prod(s[1:]) ** -0.5) for s in op_list.parameters(op)]
        if kind == "scaled_dot_product_attention":
            q, k, v = (self.heads(s, i) for i, s in enumerate(shapes[:3]))
            causal = op.get("causal", False)
            return lambda: f.scaled_dot_product_attention(q, k, v, is_causal=causal)
        if kind == "embedding":
            ids = torch.randint(0, shapes[1][0], shapes[0], device=self.device)
            return lambda: f.embedding(ids, weights[0])
        if kind == "arange":
            return lambda: torch.arange(out[0], device=self.device)
        inputs = [self.activation(s, i) for i, s in enumerate(shapes[: len(shapes) - len(weights)])]
        x = inputs[0]
        other = inputs[1] if len(inputs) > 1 else 1.0
        if kind == "conv2d":
            stride, padding, groups = op["stride"], op["padding"], x.shape[1] // shapes[1][1]
            return lambda: f.conv2d(x, *weights, stride=stride, padding=padding, groups=groups)
        if kind == "cat":
            axis = next(i for i, n in enumerate(out) if n != shapes[0][i])
            return lambda: torch.cat(inputs, axis)
        calls = {
            "linear": lambda: f.linear(x, *weights),
            "group_norm": lambda: f.group_norm(x, op["groups"], *weights),
            "layer_norm": lambda: f.layer_norm(x, shapes[1], *weights),
            "silu": lambda: f.silu(x),
            "gelu": lambda: f.gelu(x),
            "sigmoid": lambda: torch.sigmoid(x),
            "exp": lambda: torch.exp(x),
            "sin": lambda: torch.sin(x),
            "cos": lambda: torch.cos(x),
            "argmax": lambda: torch.argmax(x, -1),
            "add": lambda: torch.add(x, other),
            "mul": lambda: torch.mul(x, other),
            "div": lambda: torch.div(x, other),
            "interpolate": lambda: f.interpolate(x, size=out[2:], mode="nearest"),
        }
        if kind not in calls:
            raise ValueError(f"replay: op must be one of the list's kinds, got {kind!r}")
        return calls[kind]

    def run(self, only=None):
        for group, _, call in self.calls:
            if only is None or group == only:
                call()


def spread(samples):
    ordered = sorted(samples)
    at = lambda q: ordered[min(len(ordered) - 1, int(q * len(ordered)))]
    return {"median": at(0.5), "p5": at(0.05), "p95": at(0.95), "samples": samples}


def timed(torch, work):
    """Milliseconds between two events around `work`: warm up until steady, then the spread of REPEATS runs."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def once():
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)

    warm = [once() for _ in range(3)]
    while len(warm) < 10 and max(warm[-3:]) > (1 + SETTLED) * min(warm[-3:]):
        warm.append(once())
    return spread([once() for _ in range(REPEATS)])


def captured(torch, work):
    """`work` as a CUDA graph; torch wants it warmed up on a side stream first."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


def set_mode(torch, mode):
    """The dtype of a mode; also whether float32 products may use tf32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
    return torch.float16 if mode == "float16" else torch.float32


class Report:
    """What was measured so far; parts that fail or do not fit the time are named."""

    def __init__(self, torch, seconds, path):
        self.deadline = START + seconds  # loading torch counts
        self.path = path
        self.values = {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "device": torch.cuda.get_device_name(0),
            "capability": list(torch.cuda.get_device_capability(0)),
            "rates": [],
            "rows": [],
            "groups": [],
            "failures": [],
            "notRun": [],
        }

    def part(self, name, body):
        if os.getppid() != PARENT:
            sys.exit("replay: the process that wanted this is gone")
        if time.monotonic() > self.deadline:
            self.values["notRun"].append(name)
            return
        try:
            body()
        except Exception as error:  # a part that does not fit the memory must not end the others
            self.values["failures"].append(f"{name}: {str(error)[:300]}")
        if self.path:
            with open(self.path + ".part", "w", encoding="utf8") as file:
                json.dump(self.values, file)
            os.replace(self.path + ".part", self.path)


def measure_rates(torch, report, modes):
    n = 8192
    for mode in modes:

        def product():
            dtype = set_mode(torch, mode)
            a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
            ms = timed(torch, lambda: a @ b)
            report.values["rates"].append(
                {"name": "matmul", "mode": mode, "shape": [n, n, n], "perSecond": 2e3 * n**3 / ms["median"], "ms": ms}
            )

        report.part(f"matmul {mode}", product)

    def copy():
        size = 1 << 30
        a = torch.randint(0, 255, (size,), device="cuda", dtype=torch.uint8)
        b = torch.empty_like(a)
        ms = timed(torch, lambda: b.copy_(a))
        report.values["rates"].append(
            {"name": "copy", "mode": "bytes", "shape": [size], "perSecond": 2e3 * size / ms["median"], "ms": ms}
        )

    report.part("copy", copy)


def measure_section(torch, report, ops, name, mode):
    """Eager and under a CUDA graph, with cuDNN's auto-tuner off and on; float16 also by group of ops."""
    dtype = set_mode(torch, mode)
    torch.cuda.reset_peak_memory_stats()
    replay = Replay(torch, ops, dtype, "cuda")
    for tuned in (False, True):

        def rows(how, work):
            row = {"section": name, "mode": mode, "run": how, "cudnnBenchmark": tuned, "ms": timed(torch, work)}
            row["peakBytes"] = torch.cuda.max_memory_allocated()
            report.values["rows"].append(row)

        torch.backends.cudnn.benchmark = tuned
        report.part(f"{name} {mode} eager", lambda: rows("eager", replay.run))
        report.part(f"{name} {mode} graph", lambda: rows("graph", captured(torch, replay.run).replay))
    if mode == "float16":

        def groups():
            for group in dict.fromkeys(group for group, _, _ in replay.calls):
                graph = captured(torch, lambda: replay.run(group))
                row = {"section": name, "mode": mode, "group": group, "ms": timed(torch, graph.replay)}
                report.values["groups"].append(row)

        report.part(f"{name} {mode} groups", groups)


def check(torch, sections):
    """Runs every different op once without data. @raise ValueError for an output of another shape than the list's."""
    for name, ops in sections.items():
        unique = list({id(op): op for op in ops}.values())
        for _, op, call in Replay(torch, unique, torch.float32, "meta").calls:
            got = list(call().shape)
            if got != op["output"]:
                raise ValueError(f"{name} {op['op']} {op['inputs']}: gives {got}, the list says {op['output']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ops")
    parser.add_argument("--modes", default="float16,tf32,float32")
    parser.add_argument("--parts", default="unet,vae,text")
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--json")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    parts = options.parts.split(",")
    sections = {name: ops for name, ops in op_list.read(options.ops).items() if name in parts}
    if options.count:
        print(json.dumps({name: op_list.totals(ops) for name, ops in sections.items()}))
        return
    try:
        import torch
    except ImportError as error:
        print(json.dumps({"missing": f"python3 has no torch ({error})"}))
        return
    if options.check:
        check(torch, sections)
        print(json.dumps({"checked": sum(len(ops) for ops in sections.values())}))
        return
    if not torch.cuda.is_available():
        print(json.dumps({"missing": f"torch {torch.__version__} sees no CUDA device"}))
        return
    torch.set_grad_enabled(False)
    modes = options.modes.split(",")
    report = Report(torch, options.seconds, options.json)
    measure_rates(torch, report, modes)
    for mode in modes:
        for name, ops in sections.items():
            report.part(f"{name} {mode}", lambda: measure_section(torch, report, ops, name, mode))
            torch.cuda.empty_cache()
    print(json.dumps(report.values))


if __name__ == "__main__":
    sys.exit(main())
