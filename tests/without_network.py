"""Run pytest in a network namespace that has nothing but its loopback: `make test-blocked` makes the namespace."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

GET_FLAGS, SET_FLAGS = 0x8913, 0x8914  # SIOCGIFFLAGS and SIOCSIFFLAGS of Linux
UP = 1
REQUEST = "16sh22x"  # struct ifreq: a name and its flags


def bring_up(name: bytes) -> None:
    """Bring a network interface up, as `ip link set` would, which not every system has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _, flags = struct.unpack(REQUEST, fcntl.ioctl(control, GET_FLAGS, struct.pack(REQUEST, name, 0)))
        fcntl.ioctl(control, SET_FLAGS, struct.pack(REQUEST, name, flags | UP))


def is_cut_off() -> bool:
    """Tell whether no route leads out: to an address that is kept for documentation."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        return out.connect_ex(("192.0.2.1", 9)) != 0


if __name__ == "__main__":
    bring_up(b"lo")
    if not is_cut_off():
        sys.exit("A route leads out of this namespace: start me by `make test-blocked`.")
    sys.stdout.write("The network is cut off; only this machine can be reached.\n")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])  # noqa: S606  (this interpreter)
