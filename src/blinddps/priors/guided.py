"""Networks in the layout of guided-diffusion (ADM, Dhariwal & Nichol 2021) as ``diffusers.UNet2DModel``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blinddps.core import PriorError

__all__ = ["guided_network", "guided_size"]

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "qkv": "qkv", "proj_out": "to_out.0"}
_PARTS = {
    "resnet": _RESNET,
    "attention": _ATTENTION,
    "down": {"op": "conv"},
    "up": {"conv": "conv"},
    "plain": {"": ""},
}
_SIGNS = {
    "resnet": "in_layers.0.weight",
    "attention": "qkv.weight",
    "down": "op.weight",
    "up": "conv.weight",
    "plain": "weight",
}
"""A weight by which each kind of module is known."""

_SIZES = {
    (1, 2, 3, 4): 64,
    (1, 1, 2, 3, 4): 128,
    (1, 1, 2, 2, 4, 4): 256,
    (0.5, 1, 1, 2, 2, 4, 4): 512,
}
"""Picture size of each set of channel multipliers (Dhariwal & Nichol 2021, appendix)."""

_GROUPS = 32

Places = dict[str, tuple[str, str]]
"""Module in the file: its kind and its place in the ``UNet2DModel``."""


def guided_network(
    state: Mapping[str, Tensor],
    *,
    size: int | None = None,
    heads: int | None = None,
    head_channels: int = 64,
    heads_first: bool = True,
    steps: int = 1000,
) -> nn.Module:
    """The ``UNet2DModel`` that computes what a guided-diffusion network of these weights does, float32, frozen.

    Levels, channels, blocks, attention, ``resblock_updown``, ``use_scale_shift_norm`` and a learned variance are told
    by the weights' names and shapes. Size, heads and their order are not in them.

    Where the first level has fewer channels than the time embedding (512 pixels), ``UNet2DModel`` has no sinusoids of
    that number. The 256 sinusoids at the integers 0 ... 999 span 110 dimensions (singular values below 1e-13 of the
    first beyond), so a learned table of the first level's 128 columns is equal to them there.

    Args:
        state: weights by name; they are not copied, other than those of attention.
        size: height (= width) of its pictures; by default told from the channels' multipliers.
        heads: of attention, at every level; by default as many as ``head_channels`` gives.
        head_channels: channels of a head, ``num_head_channels``.
        heads_first: whether query, key and value are stored one head after the other, as by default, or each for all
            heads (``use_new_attention_order``).
        steps: of the diffusion.

    Raises:
        PriorError: the weights are of another network: class-conditional, super-resolution, a classifier, ...; or the
            heads do not fit the channels.
    """
    from diffusers import UNet2DModel

    _refuse_others(state)
    config, places = _architecture(state)
    channels, model = config["block_out_channels"], state["time_embed.0.weight"].shape[1]
    config["sample_size"] = size or guided_size(channels, model)
    config["attention_head_dim"] = _head_channels(config, heads, head_channels)
    found = _renamed(state, places, config["attention_head_dim"], heads_first)
    if model != channels[0]:
        config |= {"time_embedding_type": "learned", "num_train_timesteps": steps}
        first = "time_embedding.linear_1.weight"
        found["time_proj.weight"], found[first] = _table(found[first], channels[0], steps)
    with torch.device("meta"):  # nothing is drawn
        network: nn.Module = UNet2DModel(**config)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in found.items()}
    if wanted != got:
        name = next(name for name in {**wanted, **got} if wanted.get(name) != got.get(name))
        raise PriorError(
            f"the weights are of no unconditional guided-diffusion network: {name} should have the shape "
            f"{wanted.get(name, 'none')} and has {got.get(name, 'none')}; convert the network's whole state dict"
        )
    network.load_state_dict(found, assign=True)
    return network.eval().requires_grad_(False)


def guided_size(channels: tuple[int, ...], model: int) -> int:
    """Picture size that guided-diffusion has these levels of channels for.

    Raises:
        PriorError: for none.
    """
    multipliers = tuple(c / model for c in channels)
    if multipliers not in _SIZES:
        shown = ", ".join(f"{m:g}" for m in multipliers)
        raise PriorError(
            f"the channels' multipliers are {shown}, which are of no known picture size; give the size (--size)"
        )
    return _SIZES[multipliers]


def _refuse_others(state: Mapping[str, Tensor]) -> None:
    names = list(state)
    first, last, time = (state.get(f"{name}.weight") for name in ("input_blocks.0.0", "out.2", "time_embed.0"))
    if first is None or time is None:
        wrapped = next((n for n in names if n.endswith("input_blocks.0.0.weight")), None)
        if wrapped is not None:
            raise PriorError(
                f"the names of the weights begin with '{wrapped.removesuffix('input_blocks.0.0.weight')}'; save them "
                "without it"
            )
        raise PriorError(
            f"the weights are of no guided-diffusion network (the first is '{names[0][:80]}'); such a file has "
            "'input_blocks.0.0.weight' and 'time_embed.0.weight'"
        )
    if "label_emb.weight" in state:
        raise PriorError(
            "the network is class-conditional (label_emb.weight); only unconditional ones are priors: get that one"
        )
    if last is None or not any(n.startswith("output_blocks.") for n in names):
        raise PriorError("the network is a classifier (no output_blocks); get the diffusion model itself")
    if first.ndim != 4 or last.ndim != 4 or time.ndim != 2:
        raise PriorError(
            f"the first weight has {first.ndim} dimensions, so the network works on no pictures; only networks of 2-D "
            "convolutions are supported"
        )
    inner, outer = first.shape[1], last.shape[0]
    if outer not in (inner, 2 * inner):
        what = "a super-resolution network" if 2 * outer == inner else "no unconditional one"
        raise PriorError(
            f"the network has {inner} channels in and {outer} out, so it is {what}; only unconditional ones are priors"
        )


def _architecture(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], Places]:
    """Configuration of the ``UNet2DModel``, and where each module goes.

    Block 0 of the input is a convolution. Each level then has ``n`` blocks, and one more that halves the size, but the
    last. Each level of the output has ``n + 1`` blocks, and the last of them doubles the size, but at the last level. A
    residual block that halves looks like any other, so ``n`` is told from the output's first that doubles.
    """
    output: list[list[str]] = []
    while kinds := _kinds(state, f"output_blocks.{len(output)}"):
        output.append(kinds)
    doubles = [i for i, kinds in enumerate(output) if kinds[1:] and kinds[-1] in ("resnet", "up")]
    count = doubles[0] + 1 if doubles else len(output)  # n + 1
    levels = len(output) // max(count, 1)
    if count < 2 or len(output) != levels * count or doubles != [count * (i + 1) - 1 for i in range(levels - 1)]:
        raise PriorError(
            f"the weights are of no unconditional guided-diffusion network: its {len(output)} output blocks make no "
            "levels of equal length; convert the network's whole state dict"
        )

    def attends(level: int) -> bool:
        return f"input_blocks.{1 + level * count}.1.qkv.weight" in state

    def channels(level: int) -> int:
        weight = state.get(f"input_blocks.{1 + level * count}.0.out_layers.3.weight")
        return 0 if weight is None else weight.shape[0]

    places: Places = {
        "time_embed.0": ("plain", "time_embedding.linear_1"),
        "time_embed.2": ("plain", "time_embedding.linear_2"),
        "input_blocks.0.0": ("plain", "conv_in"),
        "middle_block.0": ("resnet", "mid_block.resnets.0"),
        "middle_block.1": ("attention", "mid_block.attentions.0"),
        "middle_block.2": ("resnet", "mid_block.resnets.1"),
        "out.0": ("plain", "conv_norm_out"),
        "out.2": ("plain", "conv_out"),
    }
    for block in range(len(output)):
        level, i = divmod(block, count)
        up = f"up_blocks.{level}"
        places[f"output_blocks.{block}.0"] = ("resnet", f"{up}.resnets.{i}")
        if output[block][1:2] == ["attention"]:
            places[f"output_blocks.{block}.1"] = ("attention", f"{up}.attentions.{i}")
        if block in doubles:
            places[f"output_blocks.{block}.{len(output[block]) - 1}"] = (output[block][-1], f"{up}.upsamplers.0")
        if block + 1 == len(output):
            continue
        name, down = f"input_blocks.{block + 1}", f"down_blocks.{level}"
        if i < count - 1:
            places[f"{name}.0"] = ("resnet", f"{down}.resnets.{i}")
            if f"{name}.1.qkv.weight" in state:
                places[f"{name}.1"] = ("attention", f"{down}.attentions.{i}")
        else:
            places[f"{name}.0"] = ((*_kinds(state, name), "resnet")[0], f"{down}.downsamplers.0")
    residual = bool(doubles) and output[doubles[0]][-1] == "resnet"
    plain = "Resnet{}sampleBlock2D" if residual else "{}Block2D"
    down_types = ["AttnDownBlock2D" if attends(level) else plain.format("Down") for level in range(levels)]
    time, norm = (state.get(f"{name}.weight") for name in ("time_embed.0", "middle_block.0.emb_layers.1"))
    scale_shift = norm is not None and norm.shape[0] == 2 * channels(levels - 1)
    widths = tuple(channels(level) for level in range(levels))
    odd = [c for c in widths if c < 1 or c % _GROUPS]
    if odd:
        raise PriorError(
            f"the weights are of no unconditional guided-diffusion network: a level has {odd[0]} channels, no multiple "
            f"of {_GROUPS}; convert the network's whole state dict"
        )
    config = {
        "in_channels": state["input_blocks.0.0.weight"].shape[1],
        "out_channels": state["out.2.weight"].shape[0],
        "block_out_channels": widths,
        "layers_per_block": count - 1,
        "down_block_types": tuple(down_types),
        "up_block_types": tuple(t.replace("Down", "Up").replace("down", "up") for t in reversed(down_types)),
        "downsample_type": "resnet" if residual else "conv",
        "upsample_type": "resnet" if residual else "conv",
        "resnet_time_scale_shift": "scale_shift" if scale_shift else "default",
        "time_embedding_dim": None if time is None else time.shape[0],
        "norm_num_groups": _GROUPS,
        "attn_norm_num_groups": _GROUPS,
        "norm_eps": 1e-5,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }
    return config, places


def _kinds(state: Mapping[str, Tensor], block: str) -> list[str]:
    """Kinds of the modules of a block, in their order."""
    found: list[str] = []
    while kind := next((k for k, sign in _SIGNS.items() if f"{block}.{len(found)}.{sign}" in state), None):
        found.append(kind)
    return found


def _head_channels(config: Mapping[str, Any], heads: int | None, head_channels: int) -> int | None:
    """``attention_head_dim``; None is one head at every level."""
    levels = zip(config["block_out_channels"], config["down_block_types"], strict=True)
    widths = {c for c, block in levels if block.startswith("Attn")} | {config["block_out_channels"][-1]}
    shown = ", ".join(map(str, sorted(widths)))
    if heads is None:
        if head_channels < 1 or any(w % head_channels for w in widths):
            raise PriorError(
                f"attention has {shown} channels, which make no heads of {head_channels}; give the channels of a head "
                "(--head-channels) or the number of heads (--heads)"
            )
        return head_channels
    if heads == 1:
        return None
    if heads < 1 or len(widths) > 1 or min(widths) % heads:
        raise PriorError(
            f"attention has {shown} channels, and {heads} heads of them are not what "
            "UNet2DModel can express: its heads all have equally many channels; give those (--head-channels)"
        )
    return min(widths) // heads


def _renamed(
    state: Mapping[str, Tensor], places: Places, head_channels: int | None, heads_first: bool
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        module, part = _module(name, places)
        kind, place = places.get(module, ("", ""))
        inner, _, end = part.rpartition(".")
        if end not in ("weight", "bias") or inner not in _PARTS.get(kind, {}):
            raise PriorError(
                f"the weights are of no unconditional guided-diffusion network: '{name[:80]}' belongs to none; "
                "convert the network's whole state dict, and nothing else"
            )
        target = ".".join(filter(None, (place, _PARTS[kind][inner], end)))
        if inner == "qkv":
            for which, one in zip("qkv", _split(value, head_channels, heads_first), strict=True):
                found[target.replace(".qkv.", f".to_{which}.")] = one
        else:
            found[target] = (value.squeeze(-1) if inner == "proj_out" and value.ndim == 3 else value).float()
    return found


def _module(name: str, places: Places) -> tuple[str, str]:
    """The module that a weight is of, and the rest of its name."""
    match = re.match(r"(?:input_blocks\.\d+|output_blocks\.\d+|middle_block|time_embed|out)\.\d+(?=\.)", name)
    module = match[0] if match and match[0] in places else ""
    return module, name[len(module) + 1 :]


def _split(value: Tensor, head_channels: int | None, heads_first: bool) -> Tensor:
    """``(3, C, ...)``: query, key and value of one 1-D convolution of ``3 C`` channels."""
    total, rest = value.shape[0] // 3, value.shape[1:2]
    if value.shape[0] != 3 * total or total % (head_channels or 1):
        raise PriorError("the weights of an attention are no query, key and value; get the file again")
    if not heads_first:
        return value.reshape(3, total, *rest).float()
    by_head = value.reshape(-1, 3, head_channels or total, *rest)
    return by_head.transpose(0, 1).reshape(3, total, *rest).float()


def _table(weight: Tensor, columns: int, steps: int) -> tuple[Tensor, Tensor]:
    """``T (steps, columns)`` and ``V`` with ``T V^T = E weight^T``, ``E`` the sinusoids of ``0 ... steps - 1``.

    Raises:
        PriorError: the sinusoids span more dimensions than ``columns``.
    """
    half = weight.shape[1] // 2
    rate = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(steps, dtype=torch.float64)[:, None] * rate
    u, s, vh = torch.linalg.svd(torch.cat([angle.cos(), angle.sin()], 1), full_matrices=False)
    kept = min(columns, len(s))
    if bool((s[kept:] > 1e-10 * s[0]).any()):
        raise PriorError(
            f"its time embedding has {2 * half} channels at {steps} steps, and its first level has {columns}, too few "
            "for UNet2DModel to express them; only other networks can be converted"
        )
    pad = (0, columns - kept)
    table, basis = nn.functional.pad(u[:, :kept] * s[:kept], pad), vh[:kept].T.to(weight.device)
    return table.float(), nn.functional.pad(weight.double() @ basis, pad).float()
