"""Plays a script of etcdctl commands against a cluster, and returns what a user would have seen."""

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from tests.conformance.clusters import NODES, Cluster, ClusterFailed, wait_for
from tests.conformance.etcdctl.masks import Names, mask, members
from tests.conformance.etcdctl.script import Step
from tests.conformance.etcdctl.tap import Tap

COMMAND_SECONDS_MAX = 20.0
CONDITION_SECONDS_MAX = 20.0


@dataclass(frozen=True)
class Seen:
    """What one command showed: the comparable form, and what it was made from."""

    command: str
    exit_code: int
    stdout: str
    stderr: str
    raw_stdout: str
    raw_stderr: str

    @property
    def comparable(self) -> tuple[int, str, str]:
        """What must be equal on both sides."""
        return self.exit_code, self.stdout, self.stderr


@dataclass
class Job:
    """A command that is left running."""

    step: Step
    command: str
    process: subprocess.Popen[str]
    stdin: IO[str] | None
    stdout: IO[str]
    stderr: IO[str]
    tap: Tap

    def output(self) -> str:
        """What it has printed so far."""
        return read_all(self.stdout)

    def close(self) -> None:
        """Ends it, if it has not ended, and lets go of everything."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(COMMAND_SECONDS_MAX)
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                file.close()
        self.tap.close()


def read_all(file: IO[str]) -> str:
    """Reads a file from its start, wherever its writer stands."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


class Player:
    """Runs the steps of one script, in order, against one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._jobs: dict[str, Job] = {}
        self._captured: dict[str, str] = {}
        self._ids: dict[int, str] = {}
        self._addresses = {
            **{address: f"client {node}" for node, address in zip(NODES, cluster.client_addresses, strict=True)},
            **{address: f"peer {node}" for node, address in zip(NODES, cluster.peer_addresses, strict=True)},
        }

    def play(self, steps: list[Step]) -> dict[str, Seen]:
        """Returns what was seen, by the name of the step, for the steps that are compared."""
        seen: dict[str, Seen] = {}
        try:
            self._learn_members()
            for step in steps:
                self._settle()
                if step.start:
                    self._start(step)
                elif step.wait:
                    self._wait(step)
                elif step.shows:
                    self._await_output(self._jobs[step.shows], step.until, step.name)
                elif step.finish:
                    seen[step.name] = self._finish(step)
                else:
                    seen[step.name] = self._run(step)
        finally:
            for job in self._jobs.values():
                job.close()
        return seen

    def _argv(self, command: str, endpoints: list[str]) -> list[str]:
        arguments = [self._filled(word) for word in shlex.split(command)]
        return ["etcdctl", "--endpoints", ",".join(endpoints), *arguments]

    def _filled(self, word: str) -> str:
        for name, value in self._captured.items():
            word = word.replace("{" + name + "}", value)
        return word

    @staticmethod
    def _environment() -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
        return {**kept, "ETCDCTL_API": "3", "LC_ALL": "C.UTF-8"}

    def _call(self, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._argv(command, self._cluster.client_addresses),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
            env=self._environment(),
        )

    def _learn_members(self) -> None:
        """Names the ids that the cluster made up; waits for the members to know each other's addresses."""

        def known() -> bool:
            done = self._call("member list -w json")
            if done.returncode != 0:
                return False
            cluster, ids = members(done.stdout)
            self._ids[cluster] = "cluster"
            self._ids.update({number: f"member {name}" for name, number in ids.items()})
            return set(ids) == set(NODES)

        wait_for(f"{self._cluster.name} lists its three members", known, CONDITION_SECONDS_MAX)

    def _settle(self) -> None:
        """Waits until every member has applied everything, so that whichever answers next, answers alike."""

        def settled() -> bool:
            done = self._call("endpoint status -w json")
            if done.returncode != 0:
                return False
            rows = [row["Status"] for row in json.loads(done.stdout)]
            indexes = {row.get(index) for row in rows for index in ("raftIndex", "raftAppliedIndex")}
            return len(rows) == len(NODES) and len(indexes) == 1

        wait_for(f"{self._cluster.name}'s members have applied the same", settled, CONDITION_SECONDS_MAX)

    def _run(self, step: Step) -> Seen:
        stdin = step.stdin_repeat.text() if step.stdin_repeat else self._filled(step.stdin)
        done = self._call(step.run, stdin)
        return self._seen(step, step.run, done.returncode, done.stdout, done.stderr)

    def _wait(self, step: Step) -> None:
        pattern = re.compile(step.until)
        wait_for(
            f"{self._cluster.name}: {step.name}: {step.wait!r} prints {step.until!r}",
            lambda: bool(pattern.search(self._call(step.wait).stdout)),
            CONDITION_SECONDS_MAX,
        )

    def _start(self, step: Step) -> None:
        # A job talks to one member through the relay; which one must not matter.
        node = len(self._jobs) % len(NODES)
        tap = Tap(self._cluster.client_addresses[node])
        self._addresses[tap.address] = f"client {NODES[node]}"
        out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the job
        err = tempfile.TemporaryFile("w+")  # noqa: SIM115
        process = subprocess.Popen(
            self._argv(step.start, [tap.address]),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            text=True,
            env=self._environment(),
        )
        job = Job(step, step.start, process, process.stdin, out, err, tap)
        self._jobs[step.job] = job
        if step.stdin and process.stdin is not None:
            process.stdin.write(self._filled(step.stdin))
            process.stdin.flush()
        if step.watches:
            wait_for(
                f"{self._cluster.name}: {step.name}: {step.watches} watches are confirmed",
                lambda: tap.messages >= step.watches or process.poll() is not None,
                CONDITION_SECONDS_MAX,
            )
        if step.until:
            self._await_output(job, step.until, step.name)
        self._capture(step, job.output())

    def _await_output(self, job: Job, until: str, name: str) -> None:
        pattern = re.compile(until)
        try:
            wait_for(
                f"{self._cluster.name}: {name}: {job.command!r} prints {until!r}",
                lambda: bool(pattern.search(job.output())) or job.process.poll() is not None,
                CONDITION_SECONDS_MAX,
            )
        except ClusterFailed as error:
            raise ClusterFailed(f"{error}; it printed {job.output()!r} and {read_all(job.stderr)!r}") from error

    def _finish(self, step: Step) -> Seen:
        job = self._jobs.pop(step.finish)
        try:
            if step.until:
                self._await_output(job, step.until, step.name)
            if step.signal != "NONE":
                job.process.send_signal(signal.Signals[f"SIG{step.signal}"])
            exit_code = job.process.wait(COMMAND_SECONDS_MAX)
            return self._seen(step, job.command, exit_code, read_all(job.stdout), read_all(job.stderr))
        finally:
            job.close()

    def _capture(self, step: Step, output: str) -> None:
        for name, pattern in step.capture.items():
            found = re.search(pattern, output)
            if found is not None:
                groups = found.groupdict()
                number = int(groups["hex"], 16) if "hex" in groups else int(groups["decimal"])
                self._captured[name] = f"{number:x}"
                self._ids[number] = name

    def _seen(self, step: Step, command: str, exit_code: int, stdout: str, stderr: str) -> Seen:
        self._capture(step, stdout)
        names = Names(self._ids, self._addresses)
        return Seen(
            command,
            exit_code,
            mask(stdout, names, step.mask, step.order),
            mask(stderr, names, step.mask, step.order),
            stdout,
            stderr,
        )


def differences(expected: dict[str, Seen], actual: dict[str, Seen]) -> dict[str, str]:
    """Compares two runs of one script: the steps that differ, and how, for a reader."""
    found = {}
    for name in [*expected, *(name for name in actual if name not in expected)]:
        left, right = expected.get(name), actual.get(name)
        if left is None or right is None:
            found[name] = f"{name}: seen on one side only"
        elif left.comparable != right.comparable:
            found[name] = describe(name, left, right)
    return found


def describe(name: str, expected: Seen, actual: Seen) -> str:
    """Says what differs between two sights of one step."""
    lines = [f"{name}: etcdctl {expected.command}"]
    for what in ("exit_code", "stdout", "stderr"):
        left, right = getattr(expected, what), getattr(actual, what)
        if left != right:
            lines += [f"  {what} of the oracle:", f"    {left!r}", f"  {what} seen:", f"    {right!r}"]
    return "\n".join(lines)


@contextmanager
def closing(cluster: Cluster) -> Iterator[Cluster]:
    """Ends a cluster with the block."""
    try:
        yield cluster
    finally:
        cluster.close()
