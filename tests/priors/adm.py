"""The network of Dhariwal & Nichol 2021, written from its description: random weights, and a forward pass in float64.

Names of the weights are those of the published files. Nothing here knows ``UNet2DModel`` or how a file is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Adm"]

State = dict[str, Tensor]


@dataclass(frozen=True)
class Adm:
    """Hyperparameters by their published meaning; ``attention`` are levels, ``variance`` is ``learn_sigma``."""

    model: int = 32
    multipliers: tuple[float, ...] = (1, 2)
    blocks: int = 1
    attention: tuple[int, ...] = (1,)
    channels: int = 3
    variance: bool = True
    updown: bool = True
    scale_shift: bool = True
    head_channels: int = 16
    new_order: bool = False

    def plan(self) -> dict[str, tuple[str, int, int]]:
        """Kind, channels in and out of each module, by name, in the order of evaluation."""
        widths = [int(m * self.model) for m in self.multipliers]
        last = len(widths) - 1
        plan = {"input_blocks.0.0": ("conv", self.channels, widths[0])}
        c, skips = widths[0], [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(self.blocks):
                name = f"input_blocks.{len(skips)}"
                plan[f"{name}.0"] = ("res", c, width)
                if level in self.attention:
                    plan[f"{name}.1"] = ("attention", width, width)
                c = width
                skips.append(c)
            if level < last:
                plan[f"input_blocks.{len(skips)}.0"] = ("res-down" if self.updown else "down", c, c)
                skips.append(c)
        for i, kind in enumerate(("res", "attention", "res")):
            plan[f"middle_block.{i}"] = (kind, c, c)
        block = 0
        for level in range(last, -1, -1):
            for i in range(self.blocks + 1):
                parts = [("res", c + skips.pop(), widths[level])]
                c = widths[level]
                if level in self.attention:
                    parts.append(("attention", c, c))
                if level and i == self.blocks:
                    parts.append(("res-up" if self.updown else "up", c, c))
                plan |= {f"output_blocks.{block}.{j}": part for j, part in enumerate(parts)}
                block += 1
        return plan

    def state(self, seed: int | None = 0) -> State:
        """Random weights that keep the size of what passes through, float32; without ``seed`` their shapes alone."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        device = "meta" if seed is None else "cpu"
        state: State = {}

        def add(name: str, *shape: int) -> None:
            fan = math.prod(shape[1:])
            state[f"{name}.weight"] = torch.randn(shape, generator=generator, device=device) / fan**0.5
            state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator, device=device)

        def norm(name: str, c: int) -> None:
            state[f"{name}.weight"] = 1 + 0.2 * torch.randn(c, generator=generator, device=device)
            state[f"{name}.bias"] = 0.2 * torch.randn(c, generator=generator, device=device)

        time = 4 * self.model
        add("time_embed.0", time, self.model)
        add("time_embed.2", time, time)
        for name, (kind, c, out) in self.plan().items():
            if kind == "conv":
                add(name, out, c, 3, 3)
            elif kind == "attention":
                norm(f"{name}.norm", c)
                add(f"{name}.qkv", 3 * c, c, 1)
                add(f"{name}.proj_out", c, c, 1)
            elif kind.startswith("res"):
                norm(f"{name}.in_layers.0", c)
                add(f"{name}.in_layers.2", out, c, 3, 3)
                add(f"{name}.emb_layers.1", (1 + self.scale_shift) * out, time)
                norm(f"{name}.out_layers.0", out)
                add(f"{name}.out_layers.3", out, out, 3, 3)
                if c != out:
                    add(f"{name}.skip_connection", out, c, 1, 1)
            else:
                add(f"{name}.{ {'down': 'op', 'up': 'conv'}[kind] }", out, c, 3, 3)
        norm("out.0", int(self.multipliers[0] * self.model))
        add("out.2", (1 + self.variance) * self.channels, int(self.multipliers[0] * self.model), 3, 3)
        return state

    def __call__(self, state: State, x: Tensor, t: Tensor) -> Tensor:
        """``(B, C or 2 C, H, W)`` of ``x (B, C, H, W)`` at the steps ``t (B,)``, float64."""

        def linear(name: str, v: Tensor) -> Tensor:
            return v @ state[f"{name}.weight"].double().T + state[f"{name}.bias"].double()

        def conv(name: str, v: Tensor, stride: int = 1) -> Tensor:
            weight = state[f"{name}.weight"].double()
            return F.conv2d(v, weight, state[f"{name}.bias"].double(), stride, padding=weight.shape[-1] // 2)

        def norm(name: str, v: Tensor) -> Tensor:
            groups = v.reshape(v.shape[0], 32, -1)
            mean, var = groups.mean(-1, keepdim=True), groups.var(-1, unbiased=False, keepdim=True)
            weight, bias = (state[f"{name}.{end}"].double().reshape(1, -1, *[1] * (v.ndim - 2)) for end in ENDS)
            return ((groups - mean) / (var + 1e-5).sqrt()).reshape(v.shape) * weight + bias

        def silu(v: Tensor) -> Tensor:
            return v * torch.sigmoid(v)

        def resized(kind: str, v: Tensor) -> Tensor:
            if kind == "res-down":
                return F.avg_pool2d(v, 2)
            return v.repeat_interleave(2, -1).repeat_interleave(2, -2) if kind == "res-up" else v

        def residual(name: str, kind: str, v: Tensor) -> Tensor:
            h = conv(f"{name}.in_layers.2", resized(kind, silu(norm(f"{name}.in_layers.0", v))))
            emb = linear(f"{name}.emb_layers.1", silu(time))[:, :, None, None]
            if self.scale_shift:
                scale, shift = emb.chunk(2, 1)
                h = norm(f"{name}.out_layers.0", h) * (1 + scale) + shift
            else:
                h = norm(f"{name}.out_layers.0", h + emb)
            h = conv(f"{name}.out_layers.3", silu(h))
            v = resized(kind, v)
            return h + (conv(f"{name}.skip_connection", v) if f"{name}.skip_connection.weight" in state else v)

        def attention(name: str, v: Tensor) -> Tensor:
            b, c, height, width = v.shape
            d = self.head_channels
            weight = state[f"{name}.qkv.weight"].double()[..., 0]
            rows = norm(f"{name}.norm", v.flatten(2)).transpose(1, 2)
            qkv = rows @ weight.T + state[f"{name}.qkv.bias"].double()
            total = torch.zeros(b, height * width, c, dtype=torch.float64)
            for head in range(c // d):
                at = [(i * c + head * d) if self.new_order else (head * 3 + i) * d for i in range(3)]
                q, k, value = (qkv[..., a : a + d] for a in at)
                total[..., head * d : (head + 1) * d] = torch.softmax(q @ k.mT / d**0.5, -1) @ value
            out = total @ state[f"{name}.proj_out.weight"].double()[..., 0].T + state[f"{name}.proj_out.bias"].double()
            return v + out.transpose(1, 2).reshape(v.shape)

        def module(name: str, kind: str, v: Tensor) -> Tensor:
            if kind == "conv":
                return conv(name, v)
            if kind == "attention":
                return attention(name, v)
            if kind == "down":
                return conv(f"{name}.op", v, 2)
            if kind == "up":
                return conv(f"{name}.conv", resized("res-up", v))
            return residual(name, kind, v)

        half = self.model // 2
        angle = t.double()[:, None] * 10_000 ** (-torch.arange(half, dtype=torch.float64) / half)
        time = linear("time_embed.2", silu(linear("time_embed.0", torch.cat([angle.cos(), angle.sin()], 1))))
        plan, skips, h = self.plan(), [], x.double()
        names = list(plan)
        for i, name in enumerate(names):
            if name.startswith("output_blocks") and name.endswith(".0"):
                h = torch.cat([h, skips.pop()], 1)
            h = module(name, plan[name][0], h)
            block = name.rpartition(".")[0]
            if name.startswith("input_blocks") and names[i + 1].rpartition(".")[0] != block:
                skips.append(h)
        return conv("out.2", silu(norm("out.0", h)))


ENDS = ("weight", "bias")
