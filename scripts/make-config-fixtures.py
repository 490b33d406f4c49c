"""Makes fixtures/configs: tiny models of many configs, run by the reference, for packages/conformance/src/reference-configs.test.ts.

Needs diffusers (commit 58eb52c), transformers, torch and safetensors on a CPU:

    python3 scripts/make-config-fixtures.py fixtures/configs

Weights and inputs are not stored: both sides compute them from their names with `derived`. The reference runs in
float64, so that what is stored is right to the last bit of float32.
"""

import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.numpy import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from config_fixture_cases import UNET, UNETS, UNETS_REFUSED, VAE, VAES, VAES_REFUSED, CLIP, CLIPS, CLIPS_REFUSED


def hashed(name, count):
    """`count` numbers in [-1, 1), the same for the same name: FNV-1a of the name, then murmur's finalizer of a counter."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) % 2**32
    with np.errstate(over="ignore"):
        x = np.uint32(seed) + np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        x = x ^ (x >> np.uint32(16))
    return (x >> np.uint32(8)).astype(np.float64) / 2**23 - 1


def derived(name, shape):
    """A parameter: biases about 0, scales of norms about 1, matrices that keep the size of what they multiply."""
    shape = tuple(shape)
    count = math.prod(shape)
    values = hashed(name, count)
    if len(shape) == 1:
        values = 0.3 * values + (0 if name.endswith("bias") else 1)
    else:
        values = values * math.sqrt(3 * shape[0] / count)
    return torch.from_numpy(values.astype(np.float32).reshape(shape)).double()


def given(name, shape):
    values = hashed(f"input {name}", math.prod(shape)).astype(np.float32)
    return torch.from_numpy(values.reshape(shape)).double()


def fill(model, prefix=""):
    names = {name: name if name.startswith(("text_model.", "text_projection.")) else prefix + name
             for name in model.state_dict()}
    model.double().load_state_dict({n: derived(names[n], t.shape) if t.is_floating_point() else t
                           for n, t in model.state_dict().items()})
    return model.eval()


def random_unet(draw):
    """Several keys at once, most of them computed, some refused."""
    levels = draw.randint(1, 3)
    types = [draw.random() < 0.6 for _ in range(levels)]
    ups = [draw.random() < 0.6 for _ in range(levels)]
    config = {
        "block_out_channels": [draw.choice([8, 12, 16]) for _ in range(levels)],
        "down_block_types": ["CrossAttnDownBlock2D" if t else "DownBlock2D" for t in types],
        "up_block_types": ["CrossAttnUpBlock2D" if t else "UpBlock2D" for t in ups],
        "norm_num_groups": draw.choice([1, 2, 4]),
        "attention_head_dim": draw.choice([1, 2, 4, [draw.choice([1, 2, 4]) for _ in range(levels)]]),
        "cross_attention_dim": draw.choice([12, [12] * levels]),
        "layers_per_block": draw.choice([1, 2, [draw.randint(1, 2) for _ in range(levels)]]),
    }
    per_layer = lambda more: [draw.choice([draw.randint(0, 2), [draw.randint(0, 2) for _ in range(2 + more)]])
                              for _ in range(levels)]
    if draw.random() < 0.4:
        config["transformer_layers_per_block"] = per_layer(draw.randint(0, 1))
        if draw.random() < 0.9:
            config["reverse_transformer_layers_per_block"] = per_layer(1)
    keys = {
        "mid_block_type": [None, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn"],
        "only_cross_attention": [True, [draw.random() < 0.5 for _ in range(levels)]],
        "mid_block_only_cross_attention": [True, False],
        "resnet_out_scale_factor": [2.0],
        "resnet_skip_time_act": [True],
        "mid_block_scale_factor": [1.4],
        "resnet_time_scale_shift": ["scale_shift", "default"],
        "center_input_sample": [True],
        "flip_sin_to_cos": [False, None],
        "freq_shift": [1],
        "downsample_padding": [0],
        "use_linear_projection": [True],
        "upcast_attention": [True, None],
        "conv_in_kernel": [1, 5],
        "conv_out_kernel": [1, 5],
        "in_channels": [3, 5],
        "out_channels": [1, 8],
        "time_embedding_dim": [10],
        "time_embedding_act_fn": ["gelu", "silu", "relu"],
        "timestep_post_act": ["gelu", "silu"],
        "time_cond_proj_dim": [5],
        "encoder_hid_dim": [9],
        "num_class_embeds": [5],
        "class_embed_type": ["timestep", "identity", "projection", "simple_projection"],
        "class_embeddings_concat": [True],
        "projection_class_embeddings_input_dim": [46],
        "cross_attention_norm": ["group_norm"],
        "attention_type": ["default"],
        "norm_eps": [1e-3],
    }
    for key, values in keys.items():
        if draw.random() < 0.25:
            config[key] = draw.choice(values)
    if draw.random() < 0.25:
        config.update(addition_embed_type="text_time", addition_time_embed_dim=6,
                      projection_class_embeddings_input_dim=46)
    return config


def unet_inputs(config):
    n = 2
    inputs = {
        "sample": [n, config.get("in_channels", 4), *([9, 7] if len(config["block_out_channels"]) < 3 else [8, 12])],
        "encoder_hidden_states": [n, 3, config.get("encoder_hid_dim") or context_width(config)],
    }
    if config.get("time_cond_proj_dim"):
        inputs["timestep_cond"] = [n, config["time_cond_proj_dim"]]
    kind = config.get("class_embed_type")
    if kind in ("projection", "simple_projection"):
        inputs["class_labels"] = [n, config.get("projection_class_embeddings_input_dim")]
    elif kind == "identity":
        inputs["class_labels"] = [n, config.get("time_embedding_dim") or 4 * config["block_out_channels"][0]]
    if config.get("addition_embed_type") == "text_time":
        inputs["text_embeds"] = [n, config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]]
        inputs["time_ids"] = [n, 6]
    return inputs


def context_width(config):
    width = config["cross_attention_dim"]
    if not isinstance(width, list):
        return width
    n = len(width)
    attends = [d.startswith("Cross") or u.startswith("Cross")
               for d, u in zip(config["down_block_types"], reversed(config["up_block_types"]))]
    return next((w for w, a in zip(width, attends) if a), width[0])


def run_unet(case):
    config = case["config"]
    model = fill(UNet2DConditionModel.from_config(dict(config)))
    case["inputs"] = unet_inputs(config)
    case["timestep"] = 37
    tensors = {name: given(name, shape) for name, shape in case["inputs"].items()}
    if "time_ids" in tensors:
        tensors["time_ids"] = (tensors["time_ids"] * 100).round()
    added = {name: tensors.pop(name) for name in ("text_embeds", "time_ids") if name in tensors}
    labels = tensors.pop("class_labels", None)
    if labels is None and (config.get("num_class_embeds") or config.get("class_embed_type") == "timestep"):
        case["classes"] = [3, 1]
        labels = torch.tensor(case["classes"])
    out = model(tensors["sample"], case["timestep"], tensors["encoder_hidden_states"], class_labels=labels,
                timestep_cond=tensors.get("timestep_cond"), added_cond_kwargs=added or None).sample
    return {"sample": out}


def run_vae(case):
    config = case["config"]
    model = fill(AutoencoderKL.from_config(dict(config)))
    scale = 2 ** (len(config["block_out_channels"]) - 1)
    case["inputs"] = {"image": [2, config.get("in_channels", 3), 4 * scale, 3 * scale],
                      "latents": [2, config.get("latent_channels", 4), 3, 4]}
    image, latents = (given(name, shape) for name, shape in case["inputs"].items())
    posterior = model.encode(image).latent_dist
    return {"mean": posterior.mean, "logvar": posterior.logvar, "image": model.decode(latents).sample}


def run_clip(case):
    config = CLIPTextConfig(**case["config"])
    case["ids"] = [[48, 7, 3, 49, 0, 0, 0], [48, 11, 12, 13, 14, 15, 49]]
    ids = torch.tensor(case["ids"])
    plain = fill(CLIPTextModel(config), "text_model.")
    projecting = fill(CLIPTextModelWithProjection(config))
    out = plain(ids, output_hidden_states=True)
    return {"last_hidden_state": out.last_hidden_state, "pooler_output": out.pooler_output,
            "hidden": out.hidden_states[-2], "text_embeds": projecting(ids).text_embeds}


RUNS = {"unet": run_unet, "vae": run_vae, "clip": run_clip}


def main(folder):
    torch.manual_seed(0)
    draw = random.Random(1)
    cases = []
    for kind, base, table, refused in [
        ("unet", UNET, UNETS, UNETS_REFUSED), ("vae", VAE, VAES, VAES_REFUSED), ("clip", CLIP, CLIPS, CLIPS_REFUSED),
    ]:
        cases += [{"id": f"{kind}: {name}", "kind": kind, "config": {**base, **changes}} for name, changes in table]
        cases += [{"id": f"{kind} refused: {name}", "kind": kind, "config": {**base, **changes}, "refused": key}
                  for name, changes, key in refused]
    cases += [{"id": f"unet random {i}", "kind": "unet", "config": random_unet(draw)} for i in range(60)]
    tensors = {}
    for case in cases:
        try:
            with torch.no_grad():
                outputs = RUNS[case["kind"]](case)
        except Exception as error:  # what the reference refuses, it refuses in many ways
            case["failed"] = True
            print(f"{case['id']}: the reference fails: {str(error)[:120]!r}")
            continue
        if "refused" in case:
            continue
        case["outputs"] = {}
        for name, value in outputs.items():
            key = f"{len(tensors)}"
            tensors[key] = np.ascontiguousarray(value.numpy(), dtype=np.float32)
            case["outputs"][name] = key
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "outputs.safetensors")
    # float32 sums of a few hundred products over a few dozen layers; measured: at most 3e-6. A missing bias shows 1e-3.
    tolerance = {"atol": 1e-4, "rtol": 1e-4, "rel_l2": 1e-5}
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    (folder / "cases.json").write_text(f'{{"tolerance": {json.dumps(tolerance)}, "cases": [\n  {lines}\n]}}\n')


main(Path(sys.argv[1]))
