#!/usr/bin/env python3
"""The encoder of all-MiniLM-L6-v2 on SecretFlow SPU: three processes, real sockets on loopback.

Weights and input are both secret-shared. Prints one JSON object: CPU-seconds and bytes summed over
the three parties for one answer (the median of the repetitions after a warm-up), and the same
encoder in plain JAX beside it.

usage: spu_minilm.py [--tokens 128] [--layers 6] [--repetitions 1]
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import pickle
import queue
import re
import resource
import socket
import statistics
import sys
import tempfile
import time

import numpy as np

WIDTH, HEADS, INNER = 384, 12, 1536
PARTIES = 3
DEADLINE = 1800  # seconds until a silent party is given up


def random_layer(rng):
    """Weights of one layer with the spread of a trained one."""
    def dense(rows, columns):
        return (rng.normal(0, rows ** -0.5, (rows, columns)).astype(np.float32),
                rng.normal(0, 0.02, columns).astype(np.float32))
    def norm():
        return (rng.normal(1, 0.1, WIDTH).astype(np.float32),
                rng.normal(0, 0.05, WIDTH).astype(np.float32))
    return {
        "query": dense(WIDTH, WIDTH), "key": dense(WIDTH, WIDTH), "value": dense(WIDTH, WIDTH),
        "out": dense(WIDTH, WIDTH), "norm1": norm(),
        "up": dense(WIDTH, INNER), "down": dense(INNER, WIDTH), "norm2": norm(),
    }


def encoder(gelu, exp):
    """The transformer as a function of (input, layers), with the two non-linearities given."""
    import jax
    import jax.numpy as jnp

    def dense(x, weights):
        return x @ weights[0] + weights[1]

    def layer_norm(x, weights):
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + 1e-12) * weights[0] + weights[1]

    def heads(x):
        return x.reshape(x.shape[0], HEADS, WIDTH // HEADS).swapaxes(0, 1)

    def run(x, layers):
        for w in layers:
            q, k, v = (heads(dense(x, w[name])) for name in ("query", "key", "value"))
            scores = q @ k.swapaxes(1, 2) * (WIDTH // HEADS) ** -0.5
            weights = exp(scores - jnp.max(scores, axis=-1, keepdims=True))
            weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
            context = (weights @ v).swapaxes(0, 1).reshape(x.shape)
            x = layer_norm(x + dense(context, w["out"]), w["norm1"])
            x = layer_norm(x + dense(gelu(dense(x, w["up"])), w["down"]), w["norm2"])
        return x

    return run


def private_gelu(x):
    """GELU in four pieces, coefficients of the PUMA paper: cheap on shares."""
    import jax.numpy as jnp

    below4, below2, above3 = x < -4.0, x < -1.95, x > 3.0
    inner_left, inner_right = below4 ^ below2, below2 ^ above3 ^ True
    x2 = jnp.square(x)
    x3, x4 = x2 * x, jnp.square(x2)
    left = -0.5054031199708174 - 0.42226581151983866 * x - 0.11807612951181953 * x2 - 0.011034134030615728 * x3
    right = (0.008526321541038084 + 0.5 * x + 0.3603292692789629 * x2
             - 0.037688200365904236 * x4 + 0.0018067462606141187 * x4 * x2)
    return inner_left * left + inner_right * right + above3 * x


def private_exp(x):
    """exp that is zero far below the maximum, as the same paper does."""
    import jax.numpy as jnp

    return jnp.exp(x) * (x > -14.0)


def configuration():
    import spu.libspu as spu

    config = spu.RuntimeConfig(protocol=spu.ProtocolKind.ABY3, field=spu.FieldType.FM64)
    config.enable_pphlo_profile = True  # makes the runtime log its traffic
    return config


def party(rank, addresses, code, inputs, outputs, shares, repetitions, results, log):
    """One share holder in a process of its own."""
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    import spu.api as api
    import spu.libspu as spu

    logging = spu.logging.LogOptions()
    logging.enable_console_logger = True
    logging.log_level = spu.logging.LogLevel.INFO
    spu.logging.setup_logging(logging)
    link = spu.link.Desc()
    link.recv_timeout_ms = DEADLINE * 1000
    link.http_max_payload_size = 32 << 20
    for index, address in enumerate(addresses):
        link.add_party(f"party{index}", address)
    link = spu.link.create_brpc(link, rank)
    runtime = api.Runtime(link, configuration())
    with open(shares, "rb") as file:
        for name, share in zip(inputs, pickle.load(file)):
            runtime.set_var(name, share)
    program = spu.Executable(name="encoder", input_names=inputs, output_names=outputs, code=code)
    runs = []
    for _ in range(repetitions + 1):
        link.barrier()
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        runtime.run(program)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        runs.append((wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime))
        link.barrier()
    results.put((rank, runs, [runtime.get_var(name) for name in outputs]))
    link.stop_link()


def collect(processes, results, logs):
    """The three reports, or an end with the log of the party that died."""
    reports, limit = {}, time.monotonic() + DEADLINE
    while len(reports) < PARTIES:
        try:
            report = results.get(timeout=2)
            reports[report[0]] = report
        except queue.Empty:
            dead = [rank for rank, process in enumerate(processes) if process.exitcode not in (None, 0)]
            if dead or time.monotonic() > limit:
                for process in processes:
                    process.kill()
                sys.exit("a party failed:\n" + "\n".join(logs[rank].read_text()[-2000:] for rank in dead))
    return reports


def free_addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tokens", type=int, default=128)
    arguments.add_argument("--layers", type=int, default=6)
    arguments.add_argument("--repetitions", type=int, default=1)
    options = arguments.parse_args()

    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    workplace = tempfile.TemporaryDirectory(prefix="spu-minilm-")
    os.chdir(workplace.name)  # SPU writes its log into the current folder
    import jax
    import spu.api as api
    import spu.libspu as spu
    import spu.utils.frontend as frontend

    rng = np.random.default_rng(2024)
    layers = [random_layer(rng) for _ in range(options.layers)]
    x = rng.normal(size=(options.tokens, WIDTH)).astype(np.float32)

    plain = jax.jit(encoder(lambda v: jax.nn.gelu(v, approximate=False), jax.numpy.exp))
    expected = np.asarray(plain(x, layers))
    plain_cpu = []
    for _ in range(9):
        start = time.process_time()
        plain(x, layers).block_until_ready()
        plain_cpu.append(time.process_time() - start)

    flat, _ = jax.tree_util.tree_flatten((x, layers))
    inputs = [f"in{index}" for index in range(len(flat))]
    compiler = spu.CompilerOptions()
    compiler.enable_optimize_denominator_with_broadcast = True
    program, _ = frontend.compile(
        frontend.Kind.JAX, encoder(private_gelu, private_exp), (x, layers), {}, inputs,
        [spu.Visibility.VIS_SECRET] * len(flat),
        lambda out: [f"out{index}" for index in range(len(out))], copts=compiler)
    outputs = list(program.output_names)
    io = api.Io(PARTIES, configuration())
    held = [[] for _ in range(PARTIES)]
    for tensor in flat:
        for rank, share in enumerate(io.make_shares(np.asarray(tensor), spu.Visibility.VIS_SECRET)):
            held[rank].append(share)

    folder = pathlib.Path(workplace.name)
    logs = [folder / f"{rank}.log" for rank in range(PARTIES)]
    files = [folder / f"{rank}.shares" for rank in range(PARTIES)]
    for file, shares in zip(files, held):
        file.write_bytes(pickle.dumps(shares, protocol=4))
    context = multiprocessing.get_context("spawn")
    results, addresses = context.Queue(), free_addresses(PARTIES)
    processes = [
        context.Process(target=party, args=(rank, addresses, program.code, inputs, outputs, files[rank],
                                            options.repetitions, results, logs[rank]))
        for rank in range(PARTIES)]
    for process in processes:
        process.start()
    reports = collect(processes, results, logs)
    for process in processes:
        process.join()
    # The runtime logs the traffic of each run; the last one counts.
    pattern = re.compile(r"total send bytes (\d+), recv bytes \d+, send actions (\d+)")
    totals = [[tuple(map(int, found)) for found in pattern.findall(log.read_text(errors="replace"))]
              for log in logs]

    answer = io.reconstruct([reports[rank][2][0] for rank in range(PARTIES)])
    cosine = float(np.sum(answer * expected) / np.linalg.norm(answer) / np.linalg.norm(expected))
    repeated = range(1 if options.repetitions else 0, options.repetitions + 1)
    cpu = [sum(reports[rank][1][run][1] for rank in range(PARTIES)) for run in repeated]
    wall = [max(reports[rank][1][run][0] for rank in range(PARTIES)) for run in repeated]
    print(json.dumps({
        "system": "SPU 0.9.5 ABY3 FM64",
        "tokens": options.tokens,
        "layers": options.layers,
        "cpu_seconds_total": round(statistics.median(cpu), 3),
        "wall_seconds_total": round(statistics.median(wall), 3),
        "bytes_total": sum(t[-1][0] for t in totals) if all(totals) else None,
        "messages_per_party": max(t[-1][1] for t in totals) if all(totals) else None,
        "plaintext_cpu_seconds": round(min(plain_cpu), 5),
        "cosine": cosine,
        "max_abs_error": float(np.max(np.abs(answer - expected))),
    }))


if __name__ == "__main__":
    main()
