"""`AggregatedSocketHub.init_remote_bridges`: a plan for bridges on other nodes, and its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mxl_sockets import mpi
from mxl_sockets._aggregate_coupling import GroupCoupling
from mxl_sockets._stepping import SteppingHub
from mxl_sockets.manifest import BridgeManifest, divide_molecules, write_manifest
from mxl_sockets.ports import _outward_address as outward_address

if TYPE_CHECKING:
    import os

    from mxl_sockets.manifest import HasInitPayload, RemoteBridgeSpec


class RemoteBridges(SteppingHub[GroupCoupling]):
    """What `mxl_sockets.AggregatedSocketHub` does for bridges that are started elsewhere."""

    def init_remote_bridges(
        self,
        molecules: Iterable[HasInitPayload | dict[str, Any]]
        | Mapping[int, dict[str, Any]]
        | HasInitPayload
        | dict[str, Any],
        *,
        molecules_per_bridge: int,
        unix_prefix: str = "bridge_",
        save_file: str | os.PathLike[str] = "aggregation.json",
    ) -> list[RemoteBridgeSpec]:
        """Divide molecules among bridges on other nodes and write the manifest for these.

        The k-th node then runs ``python -m mxl_sockets bridge --manifest FILE
        --index k``. It has to reach this hub: open it with ``host=""``, or with
        an address of the network.

        Parameters
        ----------
        molecules : iterable, mapping of int to mapping, or one molecule
            Objects with an ``init_payload``, or INIT parameters themselves, or
            ``{id: parameters}`` as for `wait_until_bound`; their
            ``"aggregate_group"`` is set.
        molecules_per_bridge : int
            Most molecules of one bridge.
        unix_prefix : str
            What the names of groups and UNIX sockets start with.
        save_file : path
            Rank 0 alone writes it, and a reader sees the whole file or none.

        Returns
        -------
        list of RemoteBridgeSpec

        Raises
        ------
        OSError
            The file cannot be written.
        ValueError
            There are no molecules, or `molecules_per_bridge` is not positive.
        HubStopped
            The hub is stopped, so that no bridge could find it.
        """
        given: Iterable[Any] = molecules if isinstance(molecules, Iterable) else [molecules]
        if isinstance(molecules, Mapping):
            # As for `wait_until_bound`, {id: parameters}; else the parameters of one.
            by_id = not any(isinstance(key, str) for key in molecules)
            given = molecules.values() if by_id else [molecules]
        specs = divide_molecules(given, molecules_per_bridge, unix_prefix)
        if not mpi.am_master():
            return specs
        self._check_running()
        address = self._address
        host, port = address if isinstance(address, tuple) else ("", 0)
        if host in ("0.0.0.0", "::"):  # noqa: S104 - all interfaces: others need one of them
            host = outward_address()
        manifest = BridgeManifest(
            host, port, self.timeout, self.latency, unix_prefix, molecules_per_bridge, specs
        )
        write_manifest(manifest, save_file)
        return specs
