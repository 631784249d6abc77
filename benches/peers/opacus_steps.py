"""opacus_steps.py MODEL MODE BATCH STEPS: an object with samples per CPU-second of a training step of Opacus on one thread, and by
how much the most memory that the process had has grown since its first step began.

MODEL is lr, mlp or cnn; MODE is none (torch alone), hooks, functorch or ghost. The networks are those of
privacy/examples/speed.rs.
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


def main(model, mode, batch, steps):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, loss = NETWORKS[model](), nn.CrossEntropyLoss()
    images, classes = torch.rand(batch, 1, 28, 28), torch.arange(batch) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    if mode != "none":
        from opacus import PrivacyEngine

        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, classes), batch_size=batch)
        options = dict(
            module=network, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0,
            poisson_sampling=False, grad_sample_mode=mode,
        )
        if mode == "ghost":
            network, optimizer, loss, _ = PrivacyEngine().make_private(criterion=loss, **options)
        else:
            network, optimizer, _ = PrivacyEngine().make_private(**options)
    seconds, before = [], peak()
    for _ in range(steps + 2):
        began = time.process_time()
        optimizer.zero_grad()
        loss(network(images), classes).backward()
        optimizer.step()
        seconds.append(time.process_time() - began)
    middle = sorted(seconds[2:])[steps // 2]
    print(json.dumps({
        "model": model, "mode": mode, "batch": batch, "samples_per_cpu_second": round(batch / middle, 1),
        "memory_growth_mb": round(peak() - before, 1),
    }))


def peak():
    """Most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
