"""Runs BIND's `dig`, and reads what it prints."""

import asyncio
import re
import shutil
from dataclasses import dataclass

import pytest

from cluster.http.address import split_address

WAIT_S = 30.0


def tool(name: str, package: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} not found: apt-get install {package}")
    return path


@dataclass(frozen=True)
class Output:
    text: str

    @property
    def status(self) -> str:
        return self._find(r"status: (\w+)")

    @property
    def flags(self) -> list[str]:
        return self._find(r"flags: ([a-z ]*);").split()

    def _find(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found is not None, self.text
        return found.group(1)

    def section(self, name: str) -> list[str]:
        """Its lines with single spaces, sorted."""
        _, _, rest = self.text.partition(f";; {name} SECTION:\n")
        return sorted(" ".join(line.split()) for line in rest.partition("\n\n")[0].splitlines())


async def dig(address: str, *arguments: str) -> Output:
    host, port = split_address(address)
    process = await asyncio.create_subprocess_exec(
        tool("dig", "bind9-dnsutils"),
        *(f"@{host}", "-p", str(port), "+tries=1", "+time=10", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(WAIT_S):
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    # What dig has to say against an answer comes as a warning.
    assert "WARNING" not in text.replace("WARNING: recursion requested but not available", ""), text
    return Output(text)
