"""Private answers on a slow and lossy line: three nodes and a consumer, each in a network namespace of its own, joined by a router
in user space that delays and loses packets (there need be no netem in the kernel). Root, `ip` and /dev/net/tun are needed.

    line.py --sahara PROGRAM --answers PROGRAM --home HOME [--ms 1,40] [--batches 1,8] [--over tls-cubic,tls-bbr,quic] [--json]

HOME has the model (`sahara model pull`). Packets are lost one by one, each with the same probability, in both directions, of TCP
and UDP alike; nothing is lost or delayed while the model is shared and packs are made. `cargo xtask bench transports` runs it.
"""

import argparse
import collections
import fcntl
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
MTU = 1500
# A run that takes longer is given up.
PATIENCE = 600


class Line:
    """Four ends in namespaces of their own, and the router between them: a process that reads, waits, and writes."""

    def __init__(self, ends):
        self.names = [f"sahara-line-{n}" for n in range(ends)]
        self.addresses = [f"10.77.0.{10 + n}" for n in range(ends)]
        self.tuns = []
        self.router = None
        try:
            for name, address in zip(self.names, self.addresses):
                run("ip", "netns", "add", name)
                tun = os.open("/dev/net/tun", os.O_RDWR)
                device = f"sline{len(self.tuns)}"
                fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
                os.set_blocking(tun, False)
                self.tuns.append(tun)
                run("ip", "link", "set", device, "netns", name)
                run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
                run("ip", "-n", name, "link", "set", device, "mtu", str(MTU), "txqueuelen", "10000", "up")
                run("ip", "-n", name, "link", "set", "lo", "up")
            read, self.control = os.pipe()
            self.router = os.fork()
            if self.router == 0:
                try:
                    route(self.tuns, self.addresses, read)
                finally:
                    os._exit(1)
            os.close(read)
        except BaseException:
            self.close()
            raise

    def set(self, milliseconds, loss):
        """From now on packets take so long, one way, and so many of them are lost."""
        os.write(self.control, struct.pack("dd", milliseconds / 1e3, loss))
        time.sleep(0.2)

    def congestion(self, control):
        """How TCP decides how much to send, at all ends."""
        for n, name in enumerate(self.names):
            run("ip", "-n", name, "route", "replace", "10.77.0.0/24", "dev", f"sline{n}", "congctl", control)

    def run(self, end, *command, **more):
        return subprocess.Popen(["ip", "netns", "exec", self.names[end], *command], **more)

    def close(self):
        if self.router:
            os.kill(self.router, signal.SIGKILL)
            os.waitpid(self.router, 0)
        for tun in self.tuns:
            os.close(tun)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def route(tuns, addresses, control):
    """Each packet goes to the end whose address it bears, after its time, unless it is lost."""
    ways = {bytes(map(int, address.split("."))): tun for address, tun in zip(addresses, tuns)}
    poll = select.epoll()
    for fd in [*tuns, control]:
        poll.register(fd, select.EPOLLIN)
    waiting = collections.deque()
    delay, loss = 0.0, 0.0
    chance, now = random.Random(7).random, time.monotonic
    while True:
        wait = max(0.0, waiting[0][0] - now()) if waiting else -1
        for fd, _ in poll.poll(wait):
            if fd == control:
                delay, loss = struct.unpack("dd", os.read(control, 16))
                continue
            due = now() + delay
            try:
                for _ in range(64):
                    packet = os.read(fd, 65536)
                    way = ways.get(packet[16:20])
                    if way is not None and (loss == 0.0 or chance() >= loss):
                        waiting.append((due, way, packet))
            except BlockingIOError:
                pass
        time_now = now()
        while waiting and waiting[0][0] <= time_now:
            _, way, packet = waiting.popleft()
            try:
                os.write(way, packet)
            except OSError:
                pass  # an end whose queue is full loses it


def run(*command):
    subprocess.run(command, check=True)


def committee(options, folder, line, scheme):
    """The homes of three nodes, and what everybody is told of them."""
    nodes = []
    for n in (1, 2, 3):
        place = f"{line.addresses[n]}:7700"
        node = os.path.join(folder, f"node{n}")
        if not os.path.exists(node):
            environment = {**os.environ, "SAHARA_HOME": os.path.join(folder, f"home{n}")}
            command = [options.sahara, "operator", "init", "--home", node, "--listen", place, "--quic", "--json"]
            command += ["--owner", "any", "--consumer", "any"]
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        command = [options.sahara, "operator", "show", "--home", node, "--json"]
        key = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["key"]
        nodes.append(f'[[node]]\nname = "node {n}"\naddress = "{scheme}://{place}"\nkey = "{key}"\n')
    text = "version = 1\n" + "".join(nodes)
    for n in (1, 2, 3):
        with open(os.path.join(folder, f"node{n}", "committee.toml"), "w") as file:
            file.write(text)
    path = os.path.join(folder, f"{scheme}.toml")
    with open(path, "w") as file:
        file.write(text)
    return path


def measure(options, folder, line, scheme, batch, cases):
    """Runs of one transport and batch on each of the lines, nodes and consumer started anew."""
    file = committee(options, folder, line, scheme)
    quiet = {**os.environ, "RUST_LOG": "warn"}
    logs = [open(os.path.join(folder, f"log{n}"), "a") for n in range(4)]
    line.set(0, 0)
    nodes = [
        line.run(n, options.sahara, "operator", "run", "--home", os.path.join(folder, f"node{n}"), env=quiet,
                 stdout=logs[n], stderr=logs[n])
        for n in (1, 2, 3)
    ]
    time.sleep(1.5)
    runs = len(cases)
    consumer = line.run(0, options.answers, file, "128", str(batch), str(runs), env={**quiet, "SAHARA_HOME": options.home},
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=logs[0], text=True)
    try:
        for milliseconds, loss in cases:
            line.set(0, 0)
            if consumer.stdout.readline().strip() != "ready":
                yield milliseconds, loss, {"error": "the consumer ended"}
                return
            line.set(milliseconds, loss)
            consumer.stdin.write("go\n")
            consumer.stdin.flush()
            ready, _, _ = select.select([consumer.stdout], [], [], PATIENCE)
            line.set(0, 0)
            if not ready:
                yield milliseconds, loss, {"error": f"more than {PATIENCE} s"}
                return
            yield milliseconds, loss, json.loads(consumer.stdout.readline())
    finally:
        for process in [consumer, *nodes]:
            process.terminate()
        for process in [consumer, *nodes]:
            process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sahara", required=True)
    parser.add_argument("--answers", required=True)
    parser.add_argument("--home", required=True)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--over", default="tls-cubic,tls-bbr,quic")
    parser.add_argument("--ms", default="1,40", help="one way")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.home = os.path.abspath(options.home)
    cases = [(milliseconds, loss) for milliseconds in map(float, options.ms.split(",")) for loss in (0.0, 0.01)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        line = Line(4)
        try:
            for batch in map(int, options.batches.split(",")):
                for over in options.over.split(","):
                    scheme, _, control = over.partition("-")
                    if control:
                        line.congestion(control)
                    for milliseconds, loss, told in measure(options, folder, line, scheme, batch, cases):
                        rows.append({"ms": milliseconds, "loss": loss, "transport": over, "batch": batch, **told})
                        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        finally:
            line.close()
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    print("| one way | loss | at once | over | online s | MB online | nodes' CPU-s |\n|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["ms"], row["loss"], row["batch"], row["transport"] == "quic", row["transport"])):
        figures = (
            row["error"] + " | - | -"
            if "error" in row
            else f'{row["seconds"]:.1f} | {row["bytes"] / 1e6:.0f} | {row["node_cpu"]:.1f}'
        )
        print(f'| {row["ms"]:g} ms | {row["loss"]:.0%} | {row["batch"]} | {row["transport"]} | {figures} |')


main()
