"""Trains the demo model: a small llama-shaped network, on a CPU or on a GPU.

The data is a file of 16-bit token ids (see corpus.py), packed end to end and cut into windows;
every token is predicted.  The schedule runs on the clock: --minutes says how long training
takes, the window grows from 256 to 1,024 tokens on the way, and the learning rate has fallen to
zero at the end, whatever the machine.  Rotary embeddings pair dimension i with i + d/2 here;
export.py permutes the rows for GGUF.
"""

import argparse
import ctypes
import json
import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CONFIG: Dict[str, float] = dict(vocab=2048, embd=256, layers=5, heads=4, kv_heads=2, ff=512,
                                context=1024, rope_base=10000.0, eps=1e-5)
# (share of the time, window length): short windows first, because copying is learnt there fastest.
WINDOWS: List[Tuple[float, int]] = [(0.42, 256), (0.85, 512), (1.0, 1024)]


class Normed(torch.autograd.Function):
    """x over its root mean square, with a backward pass of few passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """x [..., size], weight [size]."""
        scale = torch.rsqrt(torch.linalg.vector_norm(x, dim=-1, keepdim=True).square()
                            / x.shape[-1] + eps)
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, None]:
        """Gradients of x and weight."""
        unit, scale, weight = ctx.saved_tensors
        both = grad * unit
        along = (both @ weight)[..., None] / unit.shape[-1]
        change = torch.addcmul(grad * weight, unit, along, value=-1).mul_(scale)
        return change, both.flatten(0, -2).sum(0), None


class Gated(torch.autograd.Function):
    """silu(gate) * up; torch's own silu is slow in bfloat16."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Both of one shape."""
        share = torch.sigmoid(gate)
        ctx.save_for_backward(gate, up, share)
        return gate * share * up

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Gradients of both."""
        gate, up, share = ctx.saved_tensors
        silu = gate * share
        return grad * up * torch.addcmul(share + silu, silu, share, value=-1), grad * silu


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., size], in full precision."""
        return Normed.apply(x, self.weight, self.eps)


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm."""

    def __init__(self, c: Dict[str, float]) -> None:
        super().__init__()
        n, self.heads, self.kv = int(c["embd"]), int(c["heads"]), int(c["kv_heads"])
        self.d = n // self.heads
        kv = self.kv * self.d
        self.attn_norm, self.ffn_norm = Norm(n, c["eps"]), Norm(n, c["eps"])
        self.attn_q, self.attn_k = nn.Linear(n, n, bias=False), nn.Linear(n, kv, bias=False)
        self.attn_v, self.attn_output = nn.Linear(n, kv, bias=False), nn.Linear(n, n, bias=False)
        self.ffn_gate, self.ffn_up = (nn.Linear(n, int(c["ff"]), bias=False) for _ in range(2))
        self.ffn_down = nn.Linear(int(c["ff"]), n, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor,
                dtype: torch.dtype) -> torch.Tensor:
        """x [batch][time][embd], mask [time][time] added to the scores."""
        b, t, n = x.shape
        group = self.heads // self.kv

        def linear(layer: nn.Linear, y: torch.Tensor) -> torch.Tensor:
            return F.linear(y, layer.weight.to(dtype))

        def rotate(y: torch.Tensor) -> torch.Tensor:
            first, second = y.chunk(2, -1)
            return y * cos + torch.cat((-second, first), -1) * sin

        h = self.attn_norm(x).to(dtype)
        q = rotate(linear(self.attn_q, h).view(b, t, self.heads, self.d)).transpose(1, 2)
        k = rotate(linear(self.attn_k, h).view(b, t, self.kv, self.d)).transpose(1, 2)
        v = linear(self.attn_v, h).view(b, t, self.kv, self.d).transpose(1, 2)
        # The query heads that share a key head become rows of one product.
        q = q.reshape(b * self.kv, group * t, self.d)
        k, v = k.reshape(b * self.kv, t, self.d), v.reshape(b * self.kv, t, self.d)
        scores = torch.bmm(q, (k * self.d ** -0.5).transpose(1, 2))
        scores = scores.view(b * self.kv, group, t, t) + mask
        scores = F.softmax(scores, -1).view(b * self.kv, group * t, t)
        y = torch.bmm(scores, v).view(b, self.heads, t, self.d).transpose(1, 2).reshape(b, t, n)
        x = x + linear(self.attn_output, y).to(x.dtype)
        h = self.ffn_norm(x).to(dtype)
        h = Gated.apply(linear(self.ffn_gate, h), linear(self.ffn_up, h))
        return x + linear(self.ffn_down, h).to(x.dtype)


class Model(nn.Module):
    """Embedding, blocks, and the embedding again as the output."""

    def __init__(self, c: Dict[str, float]) -> None:
        super().__init__()
        self.c = c
        self.token_embd = nn.Embedding(int(c["vocab"]), int(c["embd"]))
        self.blk = nn.ModuleList(Block(c) for _ in range(int(c["layers"])))
        self.output_norm = Norm(int(c["embd"]), c["eps"])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                # What is added to the residual stream starts small, as there are many to add.
                added = "output" in name or "down" in name
                scale = 0.02 if "embd" in name else p.shape[1] ** -0.5
                nn.init.normal_(p, 0.0, scale / (math.sqrt(2 * c["layers"]) if added else 1.0))
        self._tables: Dict[Tuple[int, torch.dtype, str], Tuple[torch.Tensor, ...]] = {}

    def tables(self, t: int, dtype: torch.dtype, device: torch.device) -> Tuple[torch.Tensor, ...]:
        """cos and sin [time][1][d] of the rotary embedding, and the causal mask [time][time]."""
        key = (t, dtype, str(device))
        if key not in self._tables:
            d = int(self.c["embd"]) // int(self.c["heads"])
            frequency = self.c["rope_base"] ** (-torch.arange(0, d, 2).float() / d)
            angle = torch.arange(t).float()[:, None] * frequency
            angle = torch.cat((angle, angle), -1)[:, None]
            mask = torch.full((t, t), -1e9).triu(1)
            self._tables[key] = tuple(x.to(device, dtype) for x in (angle.cos(), angle.sin(), mask))
        return self._tables[key]

    def forward(self, ids: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """ids [batch][time] -> logits [batch][time][vocab]."""
        cos, sin, mask = self.tables(ids.shape[1], dtype, ids.device)
        x = self.token_embd(ids)
        for block in self.blk:
            x = block(x, cos, sin, mask, dtype)
        return F.linear(self.output_norm(x).to(dtype), self.token_embd.weight.to(dtype))


class Data:
    """Windows of the token file, in order, so that nothing is seen twice in one pass."""

    def __init__(self, path: str, end: int, at: int = 0) -> None:
        self.ids, self.at, self.passes = np.memmap(path, dtype=np.uint16, mode="r"), at, 0
        self.starts = np.flatnonzero(self.ids == end) + 1

    def batch(self, rows: int, t: int) -> Tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets [rows][t].  Every other row begins with a document, as prompts do."""
        x = np.empty((rows, t + 1), np.int64)
        for row in range(rows):
            if row % 2:
                at = int(self.starts[np.searchsorted(self.starts, self.at) % len(self.starts)])
                self.at = at if 0 < at - self.at < t else self.at
            if self.at + t + 1 > len(self.ids):
                self.at, self.passes = 0, self.passes + 1
            x[row] = self.ids[self.at:self.at + t + 1]
            self.at += t
        both = torch.from_numpy(x)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal: Keller Jordan, "Muon", 2024,
    https://kellerjordan.github.io/posts/muon/.

    Every matrix changes by about the same amount in all directions, which a small network needs
    far fewer tokens for.  Matrices of one shape are worked on together.
    """

    def __init__(self, params: List[nn.Parameter], lr: float, decay: float) -> None:
        super().__init__(params, dict(lr=lr, decay=decay, momentum=0.95))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step for every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: Dict[Tuple[int, ...], List[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(tuple(p.shape), []).append(p)
            for (rows, columns), same in shapes.items():
                steps = []
                for p in same:
                    mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                    mean.lerp_(p.grad, 1 - group["momentum"])
                    steps.append(p.grad.lerp(mean, group["momentum"]))  # Nesterov's look ahead
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                for p, change in zip(same, orthogonal(torch.stack(steps))):
                    p.mul_(1 - group["lr"] * group["decay"]).add_(change, alpha=-size)


def orthogonal(x: torch.Tensor) -> torch.Tensor:
    """The nearest matrices with singular values about one: five Newton-Schulz iterations with the
    coefficients of that article, in bfloat16, which is exact enough."""
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = (x.transpose(1, 2) if tall else x).to(torch.bfloat16).contiguous()
    for _ in range(5):
        a = torch.bmm(x, x.transpose(1, 2))
        b = -4.7750 * a + 2.0315 * torch.bmm(a, a)
        x = 3.4445 * x + torch.bmm(b, x)
    return (x.transpose(1, 2) if tall else x).float()


def keep_memory() -> None:
    """Tells glibc not to give freed memory back, which costs a third of the time otherwise."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(-8, 1)  # M_ARENA_MAX
    mallopt(-4, 0)  # M_MMAP_MAX
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


class Run:
    """Model, optimizer and place in the data: what a checkpoint holds."""

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        self.path, self.file, self.device = args.out, args.data, device
        self.config = dict(CONFIG, **json.loads(args.config or "{}"))
        self.model = Model(self.config).to(device)
        named = list(self.model.named_parameters())
        inner = [p for name, p in named if p.dim() == 2 and "embd" not in name]
        embedding = [p for name, p in named if "embd" in name]
        vectors = [p for _, p in named if p.dim() != 2]
        self.optimizers: List[torch.optim.Optimizer] = []
        if args.muon:
            self.optimizers.append(Muon(inner, args.muon, 0.01))
        else:
            embedding += inner
        self.optimizers.append(torch.optim.AdamW(
            [dict(params=embedding, weight_decay=0.05), dict(params=vectors, weight_decay=0.0)],
            lr=args.rate, betas=(0.9, 0.98), eps=1e-8))
        for group in (g for o in self.optimizers for g in o.param_groups):
            group["highest"] = group["lr"]
        # <|endoftext|> is the first of the three control tokens, which end the vocabulary.
        self.data = Data(args.data, int(self.config["vocab"]) - 3)
        self.step, self.seen, self.spent, self.loss = 0, 0, 0.0, math.nan
        self.workers = ThreadPoolExecutor(args.threads if device.type == "cpu" else 1,
                                          initializer=lambda: torch.set_num_threads(1))
        if args.start:
            self.model.load_state_dict(torch.load(args.start, map_location=device)["model"])
        if args.resume and os.path.exists(self.path):
            state = torch.load(self.path, map_location=device)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            self.step, self.seen, self.spent = state["step"], state["seen"], state["spent"]
            if state["data"] == self.file:
                self.data.at = state["at"]

    def save(self) -> None:
        """Writes a checkpoint so that an interrupted write leaves the old one."""
        state = dict(model=self.model.state_dict(),
                     optimizers=[o.state_dict() for o in self.optimizers], config=self.config,
                     step=self.step, seen=self.seen, spent=self.spent, loss=self.loss,
                     data=self.file, at=self.data.at)
        torch.save(state, self.path + ".tmp")
        os.replace(self.path + ".tmp", self.path)

    def learn(self, rows: int, t: int, rate: float, dtype: torch.dtype) -> float:
        """One step at a share of the highest rates; the loss before it."""
        for group in (g for o in self.optimizers for g in o.param_groups):
            group["lr"] = rate * group["highest"]
        x, y = self.data.batch(rows, t)
        parts = max(1, x.numel() // (2048 if self.device.type == "cpu" else 65536))
        pieces = list(zip(x.chunk(parts), y.chunk(parts)))
        share = [len(xi) / rows for xi, _ in pieces]
        params, total = list(self.model.parameters()), 0.0

        def part(i: int) -> Tuple[float, Tuple[torch.Tensor, ...]]:
            xi, yi = pieces[i]
            logits = self.model(xi.to(self.device), dtype).float()
            loss = F.cross_entropy(logits.view(-1, logits.shape[-1]),
                                   yi.to(self.device).reshape(-1)) * share[i]
            return loss.item(), torch.autograd.grad(loss, params)

        # Each thread works on parts of its own, so that none waits for another within a part.
        for loss, grads in self.workers.map(part, range(len(pieces))):
            total += loss
            for p, grad in zip(params, grads):
                p.grad = grad if p.grad is None else p.grad.add_(grad)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step, self.seen = self.step + 1, self.seen + x.numel()
        self.loss = total if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * total
        return total


def share_of_rate(step: int, done: float) -> float:
    """A short warm-up, a plateau, and a fall to zero over the last 60 % of the time, fast at first:
    one minus a square root, which Haegele et al. found best (2024, arXiv 2405.18392)."""
    fall = min(1.0, max(0.0, (done - 0.4) / 0.6))
    return min(1.0, (step + 1) / 200) * (1 - math.sqrt(fall))


def train(run: Run, args: argparse.Namespace, dtype: torch.dtype) -> None:
    """Steps until the time is over or somebody stops it."""
    stop: List[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(1))
    start, noted, saved, seen = time.time() - run.spent, time.time(), time.time(), run.seen
    while not stop and not (args.steps and run.step >= args.steps):
        run.spent = time.time() - start
        done = run.spent / (args.minutes * 60)
        if done >= 1:
            break
        t = next(length for share, length in WINDOWS if done <= share)
        # Small batches early: many steps matter more than quiet gradients there.
        rows = max(1, (args.batch if done > 0.6 else args.batch // 2) // t)
        rate = share_of_rate(run.step, done)
        loss, now = run.learn(rows, t, rate, dtype), time.time()
        if now - noted > 15 or args.steps:
            print(f"step {run.step} {100 * done:5.1f} % {run.spent / 60:6.1f} min window {t} "
                  f"loss {loss:.4f} mean {run.loss:.4f} rate {rate:.3f} "
                  f"{run.seen / 1e6:.2f} M tokens {(run.seen - seen) / (now - noted):.0f}/s "
                  f"pass {run.data.passes}", flush=True)
            noted, seen = now, run.seen
        if now - saved > 120:
            saved = now
            run.save()
    run.save()
    print(f"{'stopped' if stop else 'done'}: step {run.step}, loss {run.loss:.4f}, "
          f"{run.seen / 1e6:.2f} M tokens, {run.spent / 60:.1f} min", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="token ids from corpus.py")
    parser.add_argument("--out", default="demo.pt", help="checkpoint (default %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--start", help="checkpoint whose weights a new training begins with")
    parser.add_argument("--minutes", type=float, default=105, help="length of the whole training")
    parser.add_argument("--rate", type=float, default=3e-3, help="highest rate of AdamW")
    parser.add_argument("--muon", type=float, default=0.03, help="highest rate of Muon; 0: AdamW")
    parser.add_argument("--batch", type=int, default=16384, help="tokens per step")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="no bfloat16")
    parser.add_argument("--config", help="JSON that overrides the shape")
    args = parser.parse_args()
    keep_memory()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if args.float32 else torch.bfloat16
    run = Run(args, device)
    print(f"{sum(p.numel() for p in run.model.parameters())} parameters, "
          f"{len(run.data.ids)} tokens, {device}, {dtype}", flush=True)
    train(run, args, dtype)


if __name__ == "__main__":
    main()
