"""Whether this machine's processor has the instructions that the native module is built for: without them, importing it would
end Python without a word."""

from __future__ import annotations

import platform

NEEDED = {"avx2", "bmi2", "fma"}


def missing(cpuinfo: str) -> set[str]:
    """What the first processor of /proc/cpuinfo lacks; nothing if the file does not say."""
    for line in cpuinfo.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return NEEDED - set(flags.split())
    return set()


def check() -> None:
    """Refuses a processor that is too old, with the reason."""
    if platform.machine() != "x86_64":
        return
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            lacking = missing(file.read(16384))
    except OSError:
        return
    if lacking:
        raise ImportError(
            f"this processor lacks {', '.join(sorted(lacking))}, which the package is built with: "
            'build it for this machine with RUSTFLAGS="" maturin build --release'
        )
