"""What probes by TLS trust. Made when first needed: loading the system's certificates takes some 20 ms."""

import ssl


class TlsContexts:
    """Contexts by what is verified and what is spoken."""

    def __init__(self, ca_file: str = "") -> None:
        """`ca_file`: certificates to trust in place of the system's."""
        self._ca_file = ca_file
        self._made: dict[tuple[bool, str], ssl.SSLContext] = {}

    def get(self, *, verify: bool, protocol: str) -> ssl.SSLContext:
        """A context for `http/1.1` or `h2`. Raises OSError when the certificates cannot be read."""
        context = self._made.get((verify, protocol))
        if context is None:
            if verify:
                context = ssl.create_default_context(cafile=self._ca_file or None)
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols([protocol])
            self._made[verify, protocol] = context
        return context
