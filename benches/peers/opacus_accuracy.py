"""opacus_accuracy.py DATA FOLDER < LINES: logistic regression by Opacus on FOLDER/DATA.numbers.csv, tried on
FOLDER/DATA.test.numbers.csv, at the ε, δ, steps, batch, rate and clip of each line that privacy/examples/accuracy.rs printed, with
noise that its own accountant finds. A line of JSON for each, with three seeds.
"""
import json, sys, warnings

warnings.filterwarnings("ignore")
import numpy as np
import torch
from opacus import PrivacyEngine
from opacus.accountants.utils import get_noise_multiplier


def load(path):
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return torch.from_numpy(table[:, :-1].copy()), torch.from_numpy(table[:, -1].astype(np.int64))


def train(wish, noise, seed, rows, classes, outputs):
    torch.manual_seed(seed)
    model = torch.nn.Linear(rows.shape[1], outputs)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=wish["rate"])
    data = torch.utils.data.TensorDataset(rows, classes)
    loader = torch.utils.data.DataLoader(data, batch_size=wish["batch"])
    model, optimizer, _ = PrivacyEngine().make_private(
        module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=noise, max_grad_norm=wish["clip"],
        poisson_sampling=True,
    )
    # The loader of Opacus draws batches by coins, but copies each row by itself; this draws the same, faster.
    optimizer.expected_batch_size = wish["batch"]
    for step in range(wish["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = wish["rate"] * (1 - step / wish["steps"])
        batch = (torch.rand(len(rows)) < wish["batch"] / len(rows)).nonzero().flatten()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(rows[batch]), classes[batch]).backward()
        optimizer.step()
    return model


def main(data, folder):
    torch.set_num_threads(1)
    rows, classes = load(f"{folder}/{data}.numbers.csv")
    tried, known = load(f"{folder}/{data}.test.numbers.csv")
    for line in sys.stdin:
        wish = json.loads(line)
        noise = get_noise_multiplier(
            target_epsilon=wish["epsilon"], target_delta=wish["delta"], sample_rate=wish["batch"] / len(rows),
            steps=wish["steps"], accountant="prv", epsilon_tolerance=0.001,
        )
        right = []
        for seed in range(3):
            model = train(wish, noise, seed, rows, classes, int(classes.max()) + 1)
            with torch.no_grad():
                right.append(100 * (model(tried).argmax(1) == known).float().mean().item())
        print(json.dumps({"data": data, "epsilon": wish["epsilon"], "accuracy": right, "noise": round(noise, 4)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
