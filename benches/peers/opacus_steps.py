"""opacus_steps.py MODEL MODE BATCH STEPS: an object with samples per CPU-second of a training step of Opacus on one thread.

MODEL is lr, mlp or cnn, or lora or full: an encoder of MiniLM's size on texts of 64 tokens, with adapters of rank 8 on
queries and values, or trained whole but for its embeddings. MODE is none (torch alone), hooks, functorch or ghost. The
networks are those of privacy/examples/speed.rs.
"""
import json, resource, sys, time, warnings

warnings.filterwarnings("ignore")
import torch
from torch import nn

NETWORKS = {
    "lr": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
    "mlp": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    ),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(16, 32, 4, 2), nn.ReLU(),
        nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 10),
    ),
}


class Adapted(nn.Module):
    """A frozen linear layer and what adapters add to it."""

    def __init__(self, width, rank):
        super().__init__()
        self.base = nn.Linear(width, width).requires_grad_(False)
        self.a, self.b = nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.base(x) + 2.0 * self.b(self.a(x))


class Layer(nn.Module):
    def __init__(self, width, heads, inner, rank):
        super().__init__()
        linear = lambda: Adapted(width, rank) if rank else nn.Linear(width, width)
        self.heads, self.query, self.key, self.value = heads, linear(), nn.Linear(width, width), linear()
        self.output, self.middle = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.up, self.down, self.last = nn.Linear(width, inner), nn.Linear(inner, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x):
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        attended = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self.middle(x + self.output(attended))
        return self.last(x + self.down(nn.functional.gelu(self.up(x))))


class Encoder(nn.Module):
    """Six layers of 384 numbers and twelve heads, the mean of the tokens, and a linear layer."""

    def __init__(self, rank):
        super().__init__()
        self.words, self.places = nn.Embedding(1000, 384), nn.Embedding(64, 384)
        self.norm = nn.LayerNorm(384, eps=1e-12)
        self.layers = nn.Sequential(*(Layer(384, 12, 1536, rank) for _ in range(6)))
        self.head = nn.Linear(384, 2)
        for frozen in (self.words, self.places):
            frozen.requires_grad_(False)
        if rank:
            for name, parameter in self.named_parameters():
                trained = name.startswith("head.") or ".a." in name or ".b." in name
                parameter.requires_grad_(trained)

    def forward(self, tokens):
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.head(self.layers(self.norm(x)).mean(1))


NETWORKS["lora"] = lambda: Encoder(8)
NETWORKS["full"] = lambda: Encoder(0)


def main(model, mode, batch, steps):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, loss = NETWORKS[model](), nn.CrossEntropyLoss()
    if model in ("lora", "full"):
        inputs, classes = torch.randint(0, 1000, (batch, 64)), torch.arange(batch) % 2
    else:
        inputs, classes = torch.rand(batch, 1, 28, 28), torch.arange(batch) % 10
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.01)
    if mode != "none":
        from opacus import PrivacyEngine

        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, classes), batch_size=batch)
        options = dict(
            module=network, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0,
            poisson_sampling=False, grad_sample_mode=mode,
        )
        if mode == "ghost":
            network, optimizer, loss, _ = PrivacyEngine().make_private(criterion=loss, **options)
        else:
            network, optimizer, _ = PrivacyEngine().make_private(**options)
    seconds, before = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(steps + 2):
        began = time.process_time()
        optimizer.zero_grad()
        loss(network(inputs), classes).backward()
        optimizer.step()
        seconds.append(time.process_time() - began)
    middle = sorted(seconds[2:])[steps // 2]
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    rate = round(batch / middle, 1)
    print(json.dumps({"model": model, "mode": mode, "batch": batch, "samples_per_cpu_second": rate, "memory_growth_mb": growth}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
