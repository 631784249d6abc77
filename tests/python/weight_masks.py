"""Masked words and a seed commitment of private weights, by another road than the program's: what
mpc-node/protocol/src/tests.rs and mpc-node/src/manifest/commit.rs compare with.

    pip install blake3 && python3 tests/python/weight_masks.py     (AES is `openssl enc`)
"""

import struct
import subprocess

import blake3


def derive(context, data):
    return blake3.blake3(data, derive_key_context=context).digest()


def stream(key, words):
    """AES-128 in counter mode: little-endian block numbers, little-endian words."""
    blocks = b"".join(struct.pack("<QQ", number, 0) for number in range((4 * words + 15) // 16))
    command = ["openssl", "enc", "-aes-128-ecb", "-nopad", "-K", key.hex()]
    out = subprocess.run(command, input=blocks, capture_output=True, check=True).stdout
    return struct.unpack(f"<{words}I", out[: 4 * words])


def masked(context, domain, seeds, tensors):
    words = []
    for index, tensor in enumerate(tensors):
        label = domain + struct.pack("<I", index)
        masks = [stream(derive(context, seed + label)[:16], len(tensor)) for seed in seeds]
        words += [(value + sum(mask[at] for mask in masks)) % 2**32 for at, value in enumerate(tensor)]
    return words


def commitment(context, domain, role, seed):
    return blake3.blake3(domain + bytes([role]) + seed, derive_key_context=context).hexdigest()


SHARING, COMMITTEE, VERSION, HELPER = bytes([7]) * 32, bytes([9]) * 32, struct.pack("<Q", 3), bytes([2])
SEEDS = [bytes([1]) * 32, bytes([2]) * 32]
TENSORS = [[5, -6, 7, -8, 9], [1_000_000]]

for name, domain, masks, seeds in [
    ("bound", SHARING + COMMITTEE + VERSION + HELPER, "stream v3", "commitment v2"),
    ("old", SHARING + VERSION + HELPER, "stream v2", "commitment v1"),
]:
    words = masked(f"sahara 2026 mpc weight mask {masks}", domain, SEEDS, TENSORS)
    print(name, " ".join(f"{word:08x}" for word in words))
    print(name, commitment(f"sahara 2026 weight seed {seeds}", domain, 1, SEEDS[1]))
