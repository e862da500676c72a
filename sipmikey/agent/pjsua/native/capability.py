"""Option tags added to pjsip: it names them in Supported, and accepts requests that require them."""

from __future__ import annotations

import ctypes

from sipmikey.agent.pjsua.native.functions import Text, c_function, endpoint
from sipmikey.agent.stack import StackError

_SUPPORTED = 36
"""PJSIP_H_SUPPORTED."""


def announce(tag: str) -> None:
    """Have pjsip support *tag*. Call it after the endpoint was made.

    Raises ``StackError`` where the build does not export what is needed.
    """
    known, text = Text.of(b"100rel"), Text.of(tag.encode())
    # The number of the header is one of an enumeration: where it is right, pjsip knows 100rel under it.
    if not c_function("pjsip_endpt_has_capability")(endpoint(), _SUPPORTED, None, ctypes.byref(known)):
        raise StackError("this build of pjsip numbers its header fields in an unexpected way")
    add = c_function("pjsip_endpt_add_capability")
    if add(endpoint(), None, _SUPPORTED, None, 1, ctypes.byref(text)) != 0:
        raise StackError(f"pjsip refused to support {tag}")
