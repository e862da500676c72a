"""The paths that ICE chose for a call's media, as pjsua2's dump of the call shows them."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.nat.path import MediaPath, paths_in_dump

_FIRST_S = 0.2
_AGAIN_S = 2.0


class PathWatch:
    """Looks for the paths of one call until the call is over, and tells each that is new.

    *later* runs a callable after a delay in seconds. *dump* returns pjsua2's dump, None once the call is
    over. *tell* is called with the m-line index and the path.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], None],
        dump: Callable[[], str | None],
        tell: Callable[[int, MediaPath], None],
    ) -> None:
        self._later = later
        self._dump = dump
        self._tell = tell
        self._paths: tuple[MediaPath, ...] = ()

    def start(self) -> None:
        """Begin to look, as soon as ICE may have chosen."""
        self._later(_FIRST_S, self._look)

    def _look(self) -> None:
        dump = self._dump()
        if dump is None:
            return
        paths = paths_in_dump(dump)
        for index, path in enumerate(paths):
            if self._paths[index : index + 1] != (path,):
                self._tell(index, path)
        self._paths = paths
        self._later(_AGAIN_S if paths else _FIRST_S, self._look)
