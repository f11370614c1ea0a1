"""Closes the network for a Python process that finds this folder in PYTHONPATH.

A notebook that reaches for an address other than this machine's fails with a clear error. The
loopback stays open: Jupyter talks to its kernels there.
"""

import ipaddress
import socket

_connect, _connect_ex, _getaddrinfo = (
    socket.socket.connect,
    socket.socket.connect_ex,
    socket.getaddrinfo,
)


def _require_local(host):
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return
    try:
        if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            return
    except ValueError:
        pass  # a name, which would have to be looked up
    raise OSError(f"the network is closed during tests, and something asked for {host!r}")


def _checked(method):
    def call(self, address, *rest):
        if isinstance(address, tuple):  # a path is a Unix socket
            _require_local(address[0])
        return method(self, address, *rest)

    return call


def _checked_getaddrinfo(host, *rest, **options):
    _require_local(host)
    return _getaddrinfo(host, *rest, **options)


socket.socket.connect = _checked(_connect)
socket.socket.connect_ex = _checked(_connect_ex)
socket.getaddrinfo = _checked_getaddrinfo
