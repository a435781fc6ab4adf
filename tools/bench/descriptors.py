"""The limit of open files, raised for a thousand connections."""

from __future__ import annotations

import resource


def allow_many_descriptors(wanted: int) -> None:
    """Raise the soft limit of open files to `wanted` if the hard limit allows it.

    Raises
    ------
    OSError
        The hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            message = f"{wanted} open files are needed, the hard limit is {hard}"
            raise OSError(message)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
