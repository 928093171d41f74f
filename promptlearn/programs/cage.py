"""Started by its path as a process of its own: takes rights away from itself, then becomes the command.

    python -I -S cage.py REPORT PARENT CPU MEMORY FILE PROCESSES NETWORK WORD…

REPORT is a file descriptor: it closes unwritten once the command has started, and else says why it has not. PARENT is
the process that the command must not outlive (Linux). CPU is in seconds, MEMORY and FILE are in bytes, PROCESSES counts
all of the user's, NETWORK is 0 or 1; -1 is no limit. A process of its own, because code between fork and exec can hang
in a program that has threads. Knows the standard library alone and nothing of promptlearn.
"""

import os
import resource
import sys

GRACE = 5
"""Seconds of processor time between SIGXCPU, which a command may catch, and SIGKILL."""
_PR_SET_PDEATHSIG, _CLONE_NEWUSER, _CLONE_NEWNET = 1, 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def confine(parent: int, cpu: int, memory: int, size: int, processes: int, network: int) -> None:
    """Raises OSError or ValueError where the system refuses a limit."""
    os.umask(0o077)
    if not network:
        _leave_network()
    if sys.platform == "linux":
        _die_with(parent)  # after the change of namespace, which takes a death signal back
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, cpu, GRACE)
    _limit(resource.RLIMIT_DATA, memory)
    _limit(resource.RLIMIT_FSIZE, size)
    _limit(resource.RLIMIT_NPROC, processes)


def _limit(kind: int, value: int, grace: int = 0) -> None:
    if value < 0:
        return
    most = resource.getrlimit(kind)[1]
    hard = value + grace if most == resource.RLIM_INFINITY else min(value + grace, most)
    resource.setrlimit(kind, (min(value, hard), hard))


def _die_with(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(1)


def _leave_network() -> None:
    """Into a network of its own, in which there is only a loopback interface."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNET):
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _raise_loopback()


def _write(path: str, text: str) -> None:
    with open(path, "w") as stream:  # noqa: PTH123 - pathlib takes longer to import than the rest of this file
        stream.write(text)


def _raise_loopback() -> None:
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def main(arguments: list[str]) -> None:
    report, parent, *bounds = map(int, arguments[:7])
    words = arguments[7:]
    os.set_inheritable(report, False)
    try:
        confine(parent, *bounds)
    except (OSError, ValueError) as error:
        os.write(report, f"a limit can not be set: {error}".encode())
        os._exit(126)
    try:
        os.execvp(words[0], words)  # noqa: S606 - no shell is the point
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        os.write(report, f"{words[0]} can not be started: {reason}".encode())
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
