"""Least noise by OpenDP's maps: kind,low,high,rows,epsilon,delta,scale,threshold a line.

    pip install opendp==0.16.0
    python make_opendp.py > opendp.csv            the committed points
    python make_opendp.py --random 60 SEED        others

A point is a question about a column of whole numbers from low to high of which neighbours differ by so many rows; `scale` is the
least with which OpenDP says that it costs at most epsilon, `threshold` the least above which a key may be told at that delta.
"""

import random
import sys

import opendp.prelude as dp

dp.enable_features("contrib")
NUMBERS = (dp.vector_domain(dp.atom_domain(T=int)), dp.symmetric_distance())
WORDS = (dp.vector_domain(dp.atom_domain(T=str)), dp.symmetric_distance())
MAP = (dp.map_domain(dp.atom_domain(T=str), dp.atom_domain(T=int)), dp.l01inf_distance(dp.absolute_distance(T=int)))


def least(measurement, rows, epsilon):
    """The least scale, by halving."""
    low, high = 0.0, 1.0
    while measurement(high).map(rows) > epsilon:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if middle > 0 and measurement(middle).map(rows) <= epsilon:
            high = middle
        else:
            low = middle
    return high


def scale(kind, low, high, rows, epsilon):
    if kind == "count":
        question = NUMBERS >> dp.t.then_count()
    elif kind == "sum":
        question = NUMBERS >> dp.t.then_clamp((low, high)) >> dp.t.then_sum()
    elif kind == "histogram":
        question = WORDS >> dp.t.then_count_by_categories(["a", "b", "c"], null_category=False)
    else:
        part = float(kind.removeprefix("quantile "))
        question = NUMBERS >> dp.t.then_quantile_score_candidates(list(range(low, high + 1)), part)
        return least(lambda s: question >> dp.m.then_noisy_max(dp.max_divergence(), s), rows, epsilon)
    return least(lambda s: question >> dp.m.then_laplace(s), rows, epsilon)


def threshold(rows, epsilon, delta):
    """With noise of scale rows / epsilon; a key is told above it."""
    at = rows
    step = 1 << 20
    while step:
        spent = dp.m.make_laplace_threshold(*MAP, scale=rows / epsilon, threshold=at + step).map((rows, rows, rows))
        if spent[1] > delta:
            at += step
        step //= 2
    return at + 1


def points(draw, count):
    kinds = ["count", "sum", "histogram", "quantile 0.5", "quantile 0.25", "quantile 0.9", "keys"]
    for index in range(count):
        kind = kinds[index % len(kinds)]
        low = draw.randrange(-50, 50)
        high = low + draw.randrange(1, 200)
        rows = draw.choice([1, 1, 2, 5])
        epsilon = round(10 ** draw.uniform(-1.5, 0.7), 4)
        if kind == "keys":
            delta = 10.0 ** -draw.randrange(5, 12)
            yield kind, low, high, rows, epsilon, delta, rows / epsilon, threshold(rows, epsilon, delta)
        else:
            yield kind, low, high, rows, epsilon, 0, scale(kind, low, high, rows, epsilon), 0


if __name__ == "__main__":
    seed, count = 11, 70
    if sys.argv[1:2] == ["--random"]:
        count, seed = int(sys.argv[2]), int(sys.argv[3])
    print("# kind,low,high,rows,epsilon,delta,scale,threshold: python make_opendp.py, opendp 0.16.0")
    for point in points(random.Random(seed), count):
        print(",".join(str(field) for field in point))
