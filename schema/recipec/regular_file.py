"""Reading a file that somebody named, without waiting for what never ends: a pipe, a device, a file without measure."""

from __future__ import annotations

import errno
import os
import stat

LARGEST = 16 << 20  # bytes of a file that is read as a whole


def read_regular(path: str | os.PathLike[str], largest: int | None = LARGEST) -> bytes:
    """Return the contents of a file. Raises OSError, also for what is no regular file, or larger than `largest` bytes."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer must not hang
    with os.fdopen(handle, "rb") as stream:
        about = os.fstat(handle)
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file, but a pipe, a device or a socket", os.fspath(path))
        if largest is not None and about.st_size > largest:
            raise OSError(errno.EFBIG, f"it is larger than {largest >> 20} MiB", os.fspath(path))
        return stream.read()
