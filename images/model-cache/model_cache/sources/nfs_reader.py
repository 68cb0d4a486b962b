"""Reads from an NFSv4 export with libnfs. A program: `nfs_reader.py read|sizes URL`, its argument as JSON on standard input.

`read` [path, offset] writes the file's bytes; `sizes` [path, ...] writes a list of numbers. Exit 1 and one line of error.
Apart from the agent, because libnfs may wait for a dead server for as long as it likes: this process is killed then.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

LIBRARY = "libnfs.so.13"
CHUNK = 1 << 20


class Stat(ctypes.Structure):
    """struct nfs_stat_64 of nfsc/libnfs.h."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks",
            "atime", "mtime", "ctime", "atime_nsec", "mtime_nsec", "ctime_nsec", "used",
        )
    ]  # fmt: skip


class Url(ctypes.Structure):
    _fields_ = [("server", ctypes.c_char_p), ("path", ctypes.c_char_p), ("file", ctypes.c_char_p)]


def library() -> ctypes.CDLL:
    found = ctypes.CDLL(LIBRARY)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64
    for name, result, arguments in (
        ("nfs_init_context", pointer, []),
        ("nfs_get_error", text, [pointer]),
        ("nfs_parse_url_dir", ctypes.POINTER(Url), [pointer, text]),
        ("nfs_set_autoreconnect", None, [pointer, ctypes.c_int]),
        ("nfs_mount", ctypes.c_int, [pointer, text, text]),
        ("nfs_stat64", ctypes.c_int, [pointer, text, ctypes.POINTER(Stat)]),
        ("nfs_open", ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.POINTER(pointer)]),
        ("nfs_pread", ctypes.c_int, [pointer, pointer, number, number, pointer]),
    ):
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


class Export:
    """A connection to one export."""

    def __init__(self, url: str) -> None:
        self._nfs = library()
        self._context = self._nfs.nfs_init_context()
        # Once: a lost connection is an error here, and the agent's to try again.
        place = self._nfs.nfs_parse_url_dir(self._context, url.encode())
        if not place:
            raise OSError(f"{url}: {self._error()}")
        self._nfs.nfs_set_autoreconnect(self._context, 0)
        self._check("mount", self._nfs.nfs_mount(self._context, place.contents.server, place.contents.path))

    def sizes(self, paths: list[str]) -> list[int]:
        found = []
        for path in paths:
            stat = Stat()
            self._check(path, self._nfs.nfs_stat64(self._context, path.encode(), ctypes.byref(stat)))
            found.append(int(stat.size))
        return found

    def copy(self, path: str, offset: int, out: int) -> None:
        file = ctypes.c_void_p()
        self._check(path, self._nfs.nfs_open(self._context, path.encode(), os.O_RDONLY, ctypes.byref(file)))
        buffer = ctypes.create_string_buffer(CHUNK)
        view = memoryview(buffer)
        while True:
            count = self._nfs.nfs_pread(self._context, file, offset, CHUNK, buffer)
            self._check(path, count)
            if count == 0:
                return
            offset += count
            piece = view[:count]
            while piece:
                piece = piece[os.write(out, piece) :]

    def _check(self, what: str, result: int) -> None:
        if result < 0:
            raise OSError(f"{what}: {self._error()}")

    def _error(self) -> str:
        return str((self._nfs.nfs_get_error(self._context) or b"").decode(errors="replace"))


def main() -> int:
    verb, url = sys.argv[1:]
    argument = json.load(sys.stdin)
    # libnfs prints to standard output at times; the bytes go out by a descriptor of their own.
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        export = Export(url)
        if verb == "sizes":
            os.write(out, json.dumps(export.sizes(argument)).encode())
        else:
            export.copy(argument[0], argument[1], out)
    except OSError as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.stderr.flush()
    os._exit(main())  # libnfs is not unwound: the connection ends with the process
