"""What the simulated loop refuses: descriptors, real sockets, pipes, processes, signals."""

import asyncio
from typing import NoReturn

from runtime.sim.errors import NotSimulated


class RefusingLoop(asyncio.AbstractEventLoop):
    """An event loop of which every operation that would touch the real world says so."""

    def add_reader(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("add_reader")

    def remove_reader(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("remove_reader")

    def add_writer(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("add_writer")

    def remove_writer(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("remove_writer")

    def add_signal_handler(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("add_signal_handler")

    def remove_signal_handler(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("remove_signal_handler")

    async def subprocess_exec(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("subprocess_exec")

    async def subprocess_shell(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("subprocess_shell")

    async def connect_read_pipe(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("connect_read_pipe")

    async def connect_write_pipe(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("connect_write_pipe")

    async def connect_accepted_socket(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("connect_accepted_socket")

    async def create_unix_connection(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("create_unix_connection")

    async def create_unix_server(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("create_unix_server")

    async def start_tls(self, *arguments: object, **options: object) -> NoReturn:
        """Refused: OpenSSL draws its own randomness, so no seed would give the same bytes twice."""
        raise NotSimulated("start_tls")

    async def sendfile(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sendfile")

    async def getnameinfo(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("getnameinfo")

    async def sock_recv(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_recv")

    async def sock_recv_into(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_recv_into")

    async def sock_recvfrom(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_recvfrom")

    async def sock_recvfrom_into(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_recvfrom_into")

    async def sock_sendto(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_sendto")

    async def sock_sendall(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_sendall")

    async def sock_connect(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_connect")

    async def sock_accept(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_accept")

    async def sock_sendfile(self, *arguments: object, **options: object) -> NoReturn:
        """Refused."""
        raise NotSimulated("sock_sendfile")

    def set_task_factory(self, *arguments: object, **options: object) -> NoReturn:
        """Refused: tasks must be the loop's own, or they would not hash by number."""
        raise NotSimulated("set_task_factory")
