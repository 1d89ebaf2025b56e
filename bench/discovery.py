"""What it costs to choose an endpoint, and what a balanced channel adds to a call.

    python -m bench.discovery [--quick]

Picks: CPU time of one pick among 100 endpoints, the best of several rounds. Calls: unary calls one after another over
the loopback interface, through a plain channel and through a balanced one in turns, in one process with the server; the
claim is the difference of CPU time a call, of which the server's share is the same on both sides. Ring: how far loads
stray, and how many keys a node that comes takes. Prints Markdown tables.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import uvloop

from cluster.discovery import BalancedOptions, Balancer, LeastRequest, RingHash, RoundRobin, StaticSource, Target
from cluster.discovery.channel import balanced_channel
from cluster.rpc import create_channel, create_server, listen
from runtime.real import StreamNet, SystemClock, SystemRandomness
from structures.hash_ring import HashRing, ring_hash

ENDPOINTS = 100
ROUNDS = 7
PICK_US_MAX = 3.0
CALL_US_MAX = 10.0


def best_us(work: Callable[[], None], times: int) -> float:
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        for _ in range(times):
            work()
        rounds.append((time.process_time_ns() - began) / times / 1e3)
    return min(rounds)


def picks(times: int) -> list[tuple[str, float]]:
    random = SystemRandomness()
    cases: list[tuple[str, Balancer[Target], bool, bytes | None]] = [
        ("round robin", RoundRobin(random), False, None),
        ("round robin, weights 1 to 10", RoundRobin(random), True, None),
        ("least request of two", LeastRequest(random), False, None),
        ("least request of two, weights 1 to 10", LeastRequest(random), True, None),
        ("ring hash", RingHash(random), False, b"customer-4711"),
        ("ring hash, bounded load", RingHash(random, 1.25), False, b"customer-4711"),
        ("ring hash, weights 1 to 10", RingHash(random), True, b"customer-4711"),
    ]
    rows = []
    for name, balancer, is_weighted, key in cases:
        targets = [Target(f"10.0.0.{n}:80", 1 + n % 10 if is_weighted else 1) for n in range(ENDPOINTS)]
        for number, target in enumerate(targets):
            target.in_flight = number % 3
        balancer.update(targets, targets)
        pick, nobody = balancer.pick, ()
        rows.append((name, best_us(lambda pick=pick, key=key, nobody=nobody: pick(key, nobody, 100), times)))
        began = time.process_time_ns()
        balancer.update(targets, targets[1:])
        rows.append((f"{name}: told anew", (time.process_time_ns() - began) / 1e3))
    return rows


class Echo(grpc.GenericRpcHandler):
    async def echo(self, request: bytes, context: Any) -> bytes:
        return request

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return grpc.unary_unary_rpc_method_handler(self.echo)  # type: ignore[arg-type]


async def calls(times: int) -> list[tuple[str, float]]:
    net, random = StreamNet(), SystemRandomness()
    servers, addresses = [], []
    for _ in range(3):
        server = create_server(net=net)
        server.add_generic_rpc_handlers([Echo()])
        addresses.append(f"127.0.0.1:{await listen(server, '127.0.0.1:0')}")
        await server.start()
        servers.append(server)
    # Three of them in turn, since another connection for each call costs something by itself.
    plain = [create_channel(address, net=net, random=random) for address in addresses]
    channels: dict[str, Any] = {}
    for name, balancer in (
        ("round robin", RoundRobin(random)),
        ("least request of two", LeastRequest(random)),
        ("ring hash", RingHash(random)),
    ):
        channels[name] = balanced_channel(
            StaticSource(addresses), balancer, BalancedOptions(name="echo"), net=net, random=random, clock=SystemClock()
        )
    methods: dict[str, list[Callable[..., Awaitable[bytes]]]] = {"plain": []}
    for channel in plain:
        await channel.channel_ready()
        plain_method: Any = channel.unary_unary("/t/echo")
        methods["plain"].append(plain_method)
    for name, channel in channels.items():
        await channel.channel_ready()
        methods[name] = [channel.unary_unary("/t/echo")] * len(plain)
    for method in [method for each in methods.values() for method in each * 50]:
        await method(b"x")
    rounds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(ROUNDS * 3):
        for name, each in methods.items():
            began = time.process_time_ns()
            for _ in range(times // len(each)):
                for method in each:
                    await method(b"x")
            rounds[name].append((time.process_time_ns() - began) / (times // len(each) * len(each)) / 1e3)
    base = rounds["plain"]
    rows = [("plain channels in turn, CPU of client and server, median", statistics.median(base))]
    for name in channels:
        added = sorted(mine - theirs for mine, theirs in zip(rounds[name], base, strict=True))
        rows.append((f"added by {name}, median of {len(added)} pairs", statistics.median(added)))
        rows.append((f"added by {name}, best against best", min(rounds[name]) - min(base)))
    for channel in [*plain, *channels.values()]:
        await channel.close()
    for server in servers:
        await server.stop(None)
    return rows


def ring(keys: int) -> list[tuple[str, float, float, float]]:
    rows = []
    hashes = [ring_hash(b"key-%d" % number) for number in range(keys)]
    for nodes in (3, 10, 100):
        made = HashRing({f"node-{number}": 160 for number in range(nodes)})
        before = [made.lookup(value) for value in hashes]
        loads = Counter(before)
        began = time.process_time_ns()
        made.place("node-new", 160)
        took_ms = (time.process_time_ns() - began) / 1e6
        moved = sum(made.lookup(value) != old for value, old in zip(hashes, before, strict=True))
        rows.append((str(nodes), max(loads.values()) * nodes / keys, moved * (nodes + 1) / keys, took_ms))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(f"| a pick among {ENDPOINTS} | µs |\n|---|---|")
    for name, took in picks(2_000 if quick else 50_000):
        print(f"| {name} | {took:.2f} |")
    print("\n| a unary call | µs |\n|---|---|")
    for name, took in uvloop.run(calls(200 if quick else 2_000)):
        print(f"| {name} | {took:.1f} |")
    print("\n| nodes, 160 points each | fullest / mean | moved to a new node / its share | ms to place it |")
    print("|---|---|---|---|")
    for name, fullest, moved, took in ring(10_000 if quick else 200_000):
        print(f"| {name} | {fullest:.2f} | {moved:.2f} | {took:.1f} |")
    print(f"\nAims: a pick below {PICK_US_MAX:.0f} µs, a call below {CALL_US_MAX:.0f} µs more.")


if __name__ == "__main__":
    main()
