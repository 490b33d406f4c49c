"""Makes fixtures/configs: tiny models of many configs, run by the reference, for models/reference-configs.test.ts.

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


UNET = {
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
XL = {
    **UNET,
    "block_out_channels": [8, 16, 24],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [2, 2, 4],
    "use_linear_projection": True,
    "layers_per_block": 2,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 6,
    "projection_class_embeddings_input_dim": 46,
}
# The nesting of segmind/SSD-1B and segmind/Segmind-Vega, on fewer channels.
SSD = {
    **XL,
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": [1, [2, 2], [4, 4]],
    "reverse_transformer_layers_per_block": [[4, 4, 5], [2, 1, 1], 1],
}
VEGA = {
    **XL,
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": [1, [1, 1], [2, 2]],
    "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
}
BOTH = {"down_block_types": ["CrossAttnDownBlock2D"] * 2, "up_block_types": ["CrossAttnUpBlock2D"] * 2}

# id, changes to UNET (or a whole config)
UNETS = [
    ("plain", {}),
    ("ssd-1b", SSD),
    ("ssd-1b, no mid block", {**SSD, "mid_block_type": None}),
    ("ssd-1b, mid block of the first of a list",
     {**SSD, "mid_block_type": "UNetMidBlock2DCrossAttn", "transformer_layers_per_block": [0, [1, 2], [3, 1]]}),
    ("ssd-1b, lists longer than needed",
     {**SSD, "mid_block_type": "UNetMidBlock2DCrossAttn",
      "transformer_layers_per_block": [[], [1, 2, 7], [2, 1, 7]],
      "reverse_transformer_layers_per_block": [[2, 1, 1, 7], [1, 2, 1, 7], []]}),
    ("vega", VEGA),
    ("vega, no mid block", {**VEGA, "mid_block_type": None}),
    ("reverse_transformer_layers flat", {**XL, "transformer_layers_per_block": [1, 2, 3],
                                         "reverse_transformer_layers_per_block": [1, 3, 2]}),
    ("reverse_transformer_layers lists beside a number", {**XL, "transformer_layers_per_block": 2,
                                                          "reverse_transformer_layers_per_block": [[1, 2, 3], 1, 2]}),
    ("transformer_layers of none", {"transformer_layers_per_block": [0, 0]}),
    ("transformer_layers list", {**BOTH, "transformer_layers_per_block": [2, 3]}),
    ("layers_per_block list", {**BOTH, "layers_per_block": [1, 3]}),
    ("mid_block_type null", {"mid_block_type": None}),
    ("mid_block_type UNetMidBlock2D", {"mid_block_type": "UNetMidBlock2D"}),
    ("only_cross_attention", {"only_cross_attention": True}),
    ("only_cross_attention list", {**BOTH, "only_cross_attention": [True, False]}),
    ("only_cross_attention last", {**BOTH, "only_cross_attention": [False, True]}),
    ("mid_block_only_cross_attention", {"mid_block_only_cross_attention": True}),
    ("mid_block_only_cross_attention false", {"only_cross_attention": True, "mid_block_only_cross_attention": False}),
    ("resnet_out_scale_factor", {"resnet_out_scale_factor": 1.5}),
    ("resnet_skip_time_act", {"resnet_skip_time_act": True}),
    ("mid_block_scale_factor", {"mid_block_scale_factor": 1.5}),
    ("mid_block_scale_factor plain", {"mid_block_scale_factor": 0.7, "mid_block_type": "UNetMidBlock2D"}),
    ("resnet_time_scale_shift", {"resnet_time_scale_shift": "scale_shift"}),
    ("cross_attention_norm", {"cross_attention_norm": "layer_norm"}),
    ("addition_embed_type_num_heads", {"addition_embed_type_num_heads": 3}),
    ("dropout", {"dropout": 0.3}),
    ("center_input_sample", {"center_input_sample": True}),
    ("flip_sin_to_cos false", {"flip_sin_to_cos": False}),
    ("flip_sin_to_cos null", {"flip_sin_to_cos": None}),
    ("upcast_attention null", {"upcast_attention": None}),
    ("upcast_attention", {"upcast_attention": True}),
    ("freq_shift", {"freq_shift": 1}),
    ("freq_shift fraction", {"freq_shift": 0.5}),
    ("downsample_padding 0", {"downsample_padding": 0}),
    ("act_fn swish", {"act_fn": "swish"}),
    ("norm_num_groups", {"norm_num_groups": 1}),
    ("norm_eps", {"norm_eps": 0.01}),
    ("attention_head_dim list", {**BOTH, "attention_head_dim": [4, 2]}),
    ("attention_head_dim of a plain block", {"attention_head_dim": [2, 8], "up_block_types": ["UpBlock2D"] * 2}),
    ("attention_head_dim that a plain block does not need", {"attention_head_dim": [2, 3], "mid_block_type": None}),
    ("cross_attention_dim list", {"cross_attention_dim": [12, 12]}),
    ("cross_attention_dim of a plain block", {"cross_attention_dim": [12, 20], "mid_block_type": None}),
    ("cross_attention_dim of a plain first block",
     {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
      "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "cross_attention_dim": [20, 12]}),
    ("attention up only", {"down_block_types": ["DownBlock2D"] * 2, "mid_block_type": None}),
    ("no attention", {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2,
                      "mid_block_type": "UNetMidBlock2D"}),
    ("use_linear_projection", {"use_linear_projection": True}),
    ("one level", {"block_out_channels": [8], "down_block_types": ["CrossAttnDownBlock2D"],
                   "up_block_types": ["CrossAttnUpBlock2D"]}),
    ("four levels", {"block_out_channels": [4, 8, 8, 12], "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
                     "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}),
    ("in_channels 9, out_channels 5", {"in_channels": 9, "out_channels": 5}),
    ("conv kernels", {"conv_in_kernel": 5, "conv_out_kernel": 1}),
    ("time_embedding_dim", {"time_embedding_dim": 20}),
    *[(f"time_embedding_act_fn {name}", {"time_embedding_act_fn": name}) for name in ["silu", "swish", "gelu", "relu"]],
    *[(f"timestep_post_act {name}", {"timestep_post_act": name}) for name in ["silu", "gelu", "relu"]],
    ("time_cond_proj_dim", {"time_cond_proj_dim": 6}),
    ("encoder_hid_dim", {"encoder_hid_dim": 20}),
    ("encoder_hid_dim_type text_proj", {"encoder_hid_dim": 20, "encoder_hid_dim_type": "text_proj"}),
    ("num_class_embeds", {"num_class_embeds": 5}),
    ("class_embed_type timestep", {"class_embed_type": "timestep"}),
    ("class_embed_type timestep beside num_class_embeds", {"class_embed_type": "timestep", "num_class_embeds": 5}),
    ("class_embed_type identity", {"class_embed_type": "identity"}),
    ("class_embed_type projection", {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 7}),
    ("class_embed_type simple_projection",
     {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 7}),
    ("class_embeddings_concat", {"num_class_embeds": 5, "class_embeddings_concat": True}),
    ("text_time", XL),
    ("text_time of an odd width", {**XL, "addition_time_embed_dim": 5}),
    ("sample_size list", {"sample_size": [16, 8]}),
    ("sample_size null", {"sample_size": None}),
    ("nulls of optional keys", {key: None for key in [
        "time_embedding_dim", "time_embedding_act_fn", "timestep_post_act", "time_cond_proj_dim", "encoder_hid_dim",
        "encoder_hid_dim_type", "class_embed_type", "addition_embed_type", "num_class_embeds", "num_attention_heads",
        "cross_attention_norm", "reverse_transformer_layers_per_block", "addition_time_embed_dim",
        "projection_class_embeddings_input_dim", "dual_cross_attention", "use_linear_projection",
        "center_input_sample", "class_embeddings_concat", "mid_block_only_cross_attention", "attention_type",
        "resnet_out_scale_factor", "resnet_skip_time_act", "addition_embed_type_num_heads"]}),
]
# id, changes, the key that Darkroom names. The reference computes some of these: other families.
UNETS_REFUSED = [
    ("nested lists alone", {**XL, "transformer_layers_per_block": [1, [2, 2], [4, 4]]},
     "reverse_transformer_layers_per_block"),
    ("reverse_transformer_layers too short", {**SSD, "reverse_transformer_layers_per_block": [[4, 4], [2, 1, 1], 1]},
     "reverse_transformer_layers_per_block"),
    ("reverse_transformer_layers of a number", {**XL, "reverse_transformer_layers_per_block": 1},
     "reverse_transformer_layers_per_block"),
    ("transformer_layers too short", {**SSD, "transformer_layers_per_block": [1, [2], [4, 4]]},
     "transformer_layers_per_block"),
    ("mid block of an empty list", {**SSD, "mid_block_type": "UNetMidBlock2DCrossAttn",
                                    "down_block_types": ["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
                                    "transformer_layers_per_block": [1, 1, []]}, "transformer_layers_per_block"),
    ("addition_embed_type text", {"addition_embed_type": "text"}, "addition_embed_type"),
    ("addition_embed_type image", {"addition_embed_type": "image", "encoder_hid_dim": 8}, "addition_embed_type"),
    ("addition_embed_type text_image", {"addition_embed_type": "text_image"}, "addition_embed_type"),
    ("text_time without widths", {"addition_embed_type": "text_time"}, "projection_class_embeddings_input_dim"),
    ("num_attention_heads", {"num_attention_heads": 2}, "num_attention_heads"),
    ("dual_cross_attention", {"dual_cross_attention": True}, "dual_cross_attention"),
    ("attention_type gated", {"attention_type": "gated"}, "attention_type"),
    ("time_embedding_type fourier", {"time_embedding_type": "fourier"}, "time_embedding_type"),
    ("time_embedding_type null", {"time_embedding_type": None}, "time_embedding_type"),
    ("encoder_hid_dim_type image_proj", {"encoder_hid_dim": 8, "encoder_hid_dim_type": "image_proj"},
     "encoder_hid_dim_type"),
    ("encoder_hid_dim_type alone", {"encoder_hid_dim_type": "text_proj"}, "encoder_hid_dim"),
    ("encoder_hid_dim beside a list", {"encoder_hid_dim": 8, "cross_attention_dim": [12, 12]}, "cross_attention_dim"),
    ("mid_block_type simple", {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "mid_block_type"),
    ("down_block_types simple", {"down_block_types": ["SimpleCrossAttnDownBlock2D", "DownBlock2D"]}, "down_block_types"),
    ("up_block_types resnet", {"up_block_types": ["ResnetUpsampleBlock2D", "UpBlock2D"]}, "up_block_types"),
    ("block types of another count", {"down_block_types": ["DownBlock2D"]}, "down_block_types"),
    ("cross_attention_dim of two widths", {"cross_attention_dim": [12, 20], **BOTH}, "cross_attention_dim"),
    ("act_fn gelu", {"act_fn": "gelu"}, "act_fn"),
    ("act_fn mish", {"act_fn": "mish"}, "act_fn"),
    ("resnet_time_scale_shift spatial", {"resnet_time_scale_shift": "spatial"}, "resnet_time_scale_shift"),
    ("norm_num_groups null", {"norm_num_groups": None}, "norm_num_groups"),
    ("norm_num_groups that do not divide", {"norm_num_groups": 3}, "norm_num_groups"),
    ("class_embeddings_concat alone", {"class_embeddings_concat": True}, "class_embeddings_concat"),
    ("class_embeddings_concat beside text_time", {**XL, "num_class_embeds": 4, "class_embeddings_concat": True},
     "class_embeddings_concat"),
    ("class_embed_type projection alone", {"class_embed_type": "projection"}, "projection_class_embeddings_input_dim"),
    ("layers_per_block null", {"layers_per_block": None}, "layers_per_block"),
    ("attention_head_dim null", {"attention_head_dim": None}, "attention_head_dim"),
    ("only_cross_attention null", {"only_cross_attention": None}, "only_cross_attention"),
    ("in_channels null", {"in_channels": None}, "in_channels"),
    ("conv_in_kernel even", {"conv_in_kernel": 2}, "conv_in_kernel"),
    ("downsample_padding 2", {"downsample_padding": 2}, "downsample_padding"),
    ("freq_shift of half the width", {"freq_shift": 4}, "freq_shift"),
    ("timestep_post_act tanh", {"timestep_post_act": "tanh"}, "timestep_post_act"),
]

VAE = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4,
}
VAES = [
    ("plain", {}),
    ("one level by default", {"block_out_channels": [8], "down_block_types": ["DownEncoderBlock2D"],
                              "up_block_types": ["UpDecoderBlock2D"]}),
    ("three levels", {"block_out_channels": [8, 8, 12], "down_block_types": ["DownEncoderBlock2D"] * 3,
                      "up_block_types": ["UpDecoderBlock2D"] * 3}),
    ("layers_per_block", {"layers_per_block": 2}),
    ("latent_channels", {"latent_channels": 16}),
    ("channels", {"in_channels": 1, "out_channels": 4}),
    ("no attention", {"mid_block_add_attention": False}),
    ("no attention by null", {"mid_block_add_attention": None}),
    ("no quant_conv", {"use_quant_conv": False}),
    ("no post_quant_conv", {"use_post_quant_conv": False}),
    ("no convolutions by null", {"use_quant_conv": None, "use_post_quant_conv": None}),
    ("norm_num_groups", {"norm_num_groups": 2}),
    ("act_fn swish", {"act_fn": "swish"}),
    ("what pipelines read", {"scaling_factor": 0.13025, "shift_factor": 0.1, "latents_mean": [0.1, 0.2, 0.3, 0.4],
                             "latents_std": [1.0, 2.0, 3.0, 4.0], "force_upcast": False, "sample_size": 64}),
    ("sample_size list", {"sample_size": [64, 32]}),
]
VAES_REFUSED = [
    ("down_block_types with attention", {"down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]},
     "down_block_types"),
    ("up_block_types with attention", {"up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]},
     "up_block_types"),
    ("act_fn relu", {"act_fn": "relu"}, "act_fn"),
    ("norm_num_groups null", {"norm_num_groups": None}, "norm_num_groups"),
    ("layers_per_block list", {"layers_per_block": [1, 2]}, "layers_per_block"),
    ("sample_size null", {"sample_size": None}, "sample_size"),
]

CLIP = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 9,
    "projection_dim": 12,
    "eos_token_id": 49,
    "bos_token_id": 48,
}
CLIPS = [
    ("plain", {}),
    *[(f"hidden_act {name}", {"hidden_act": name})
      for name in ["quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "swish", "relu"]],
    ("layer_norm_eps", {"layer_norm_eps": 0.01}),
    ("attention_dropout", {"attention_dropout": 0.5}),
    ("num_attention_heads", {"num_attention_heads": 8}),
    ("num_hidden_layers", {"num_hidden_layers": 4}),
    ("eos_token_id 2", {"eos_token_id": 2}),
    ("eos_token_id that is absent", {"eos_token_id": 47}),
    ("projection_dim", {"projection_dim": 20}),
    ("other keys", {"initializer_range": 0.5, "initializer_factor": 3.0, "pad_token_id": 0, "dropout": 0.0,
                    "torch_dtype": "float16", "architectures": ["CLIPTextModel"], "use_cache": True}),
]
CLIPS_REFUSED = [
    ("hidden_act tanh", {"hidden_act": "tanh"}, "hidden_act"),
    ("num_attention_heads that do not divide", {"num_attention_heads": 3}, "num_attention_heads"),
    ("eos_token_id list", {"eos_token_id": [2, 49]}, "eos_token_id"),
    ("a whole CLIP", {"text_config": {"hidden_size": 8}}, "text_config"),
    ("use_attention_mask", {"use_attention_mask": True}, "use_attention_mask"),
]


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
