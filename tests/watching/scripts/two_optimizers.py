"""Two optimizers: a GAN's, or a Muon of one's own beside AdamW, or with a library's name that library's."""

import sys

import torch
from torch import nn
from truth import note

what = sys.argv[2]
torch.manual_seed(0)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized by a polynomial, and decoupled decay."""

    def __init__(self, params, lr: float, weight_decay: float) -> None:  # type: ignore[no-untyped-def]
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                momentum.mul_(group["momentum"]).add_(p.grad)
                x = momentum / (momentum.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(x, alpha=-group["lr"])


if what == "muon":
    net = nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 20))
    matrices = [net[1].weight, net[3].weight]
    rest = [net[0].weight, net[1].bias, net[2].weight, net[2].bias, net[3].bias]
    optimizers = [Muon(matrices, 0.02, 0.1), torch.optim.AdamW(rest, lr=3e-3, weight_decay=0.0)]
    for _ in range(30):
        tokens = torch.randint(0, 20, (16,))
        nn.functional.cross_entropy(net(tokens), tokens).backward()
        for number, optimizer in enumerate(optimizers):
            optimizer.step()
            note(optimizer, number)
            optimizer.zero_grad()
else:
    generator, critic = nn.Linear(4, 16), nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    for_generator = torch.optim.AdamW(generator.parameters(), lr=1e-4, betas=(0.5, 0.9), weight_decay=0.01)
    for_critic = torch.optim.AdamW(critic.parameters(), lr=4e-4, betas=(0.5, 0.9), weight_decay=0.05)
    for _ in range(30):
        for _ in range(2):
            loss = critic(generator(torch.randn(8, 4)).detach()).mean() - critic(torch.randn(8, 16)).mean()
            for_critic.zero_grad()
            loss.backward()
            for_critic.step()
            note(for_critic, 0)
        for_generator.zero_grad()
        (-critic(generator(torch.randn(8, 4))).mean()).backward()
        for_generator.step()
        note(for_generator, 1)
