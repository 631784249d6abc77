"""ε of sampled Gaussian noise by Google's dp-accounting: a lower and an upper value a point, and the upper one of Rényi's account.

    pip install dp-accounting==0.6.0
    python privacy/tests/data/make_dp_accounting.py > privacy/tests/data/dp_accounting.csv

`--random N SEED` draws points instead, from wider ranges.
"""

import random
import sys

import dp_accounting
from dp_accounting import rdp
from dp_accounting.pld import privacy_loss_distribution as pld

# Noise multiplier, sample rate, steps.
RUNS = [
    (0.5, 1e-4, 100), (0.5, 1e-3, 10), (0.5, 1e-2, 3), (0.5, 1.0, 1),
    (0.7, 1e-4, 10_000), (0.7, 1e-3, 1_000), (0.7, 1e-2, 100), (0.7, 0.1, 10),
    (1.0, 1e-5, 100_000), (1.0, 1e-4, 1_000), (1.0, 1e-3, 10_000), (1.0, 1e-2, 1_000), (1.0, 0.1, 100), (1.0, 0.5, 10),
    (1.0, 1.0, 1), (1.0, 0.004, 15_000), (1.3, 0.01, 2_000), (1.1, 256 / 60_000, 14_062),
    (1.5, 1e-3, 100_000), (1.5, 1e-2, 100), (1.5, 0.1, 1_000), (2.0, 1e-4, 100_000), (2.0, 1e-2, 10_000), (2.0, 0.2, 500),
    (2.0, 1.0, 10), (4.0, 1e-3, 10_000), (4.0, 1e-2, 50_000), (4.0, 0.1, 1_000), (4.0, 0.5, 100), (4.0, 0.9, 1),
    (8.0, 0.05, 10_000), (8.0, 0.3, 200), (10.0, 1e-2, 10_000), (10.0, 0.1, 100_000), (10.0, 1.0, 100), (20.0, 0.5, 1_000),
    (20.0, 0.02, 100_000), (0.3, 1e-3, 2), (0.4, 1e-5, 1_000),
]
DELTAS = [1e-4, 1e-6, 1e-9]


def composed(noise, rate, steps, pessimistic):
    one = pld.from_gaussian_mechanism(
        noise, sampling_prob=rate, pessimistic_estimate=pessimistic, use_connect_dots=pessimistic
    )
    return one.self_compose(steps)


def rows(runs, deltas):
    for noise, rate, steps in runs:
        event = dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)), steps
        )
        renyi = rdp.RdpAccountant()
        renyi.compose(event)
        try:
            low, high = (composed(noise, rate, steps, pessimistic) for pessimistic in (False, True))
            for delta in deltas(noise):
                yield (
                    noise, rate, steps, delta,
                    low.get_epsilon_for_delta(delta), high.get_epsilon_for_delta(delta), renyi.get_epsilon(delta),
                )
        except (MemoryError, ValueError, OverflowError) as error:
            print("skipped", noise, rate, steps, error, file=sys.stderr)


def drawn(count, seed):
    source = random.Random(seed)
    for _ in range(count):
        noise = 10 ** source.uniform(-0.52, 1.3)
        rate = 10 ** source.uniform(-5, 0) if source.random() < 0.9 else 1.0
        steps = int(10 ** source.uniform(0, 6))
        # Only what its grid of 10⁻⁴ can hold.
        if rate * rate * steps / noise**2 < 3000 and (rate * steps / noise < 1e4 or noise > 0.8):
            yield noise, rate, steps


def main():
    if sys.argv[1:2] == ["--random"]:
        count, seed = map(int, sys.argv[2:4])
        source = random.Random(seed + 1)
        made = rows(drawn(count, seed), lambda noise: [10 ** source.uniform(-12, -3) for _ in range(2)])
    else:
        made = rows(RUNS, lambda noise: DELTAS)
    print("# Made by privacy/tests/data/make_dp_accounting.py with dp-accounting 0.6.0:")
    print("# noise,rate,steps,delta,optimistic,pessimistic,renyi")
    for row in made:
        print(",".join(repr(float(value)) if not isinstance(value, int) else str(value) for value in row), flush=True)


if __name__ == "__main__":
    main()
