"""Option tags that pjsip is to know: it names them in Supported, and takes requests that require them."""

from __future__ import annotations

import ctypes

from sipmikey.agent.stack import StackError

_SUPPORTED = 36
"""PJSIP_H_SUPPORTED."""


class _Text(ctypes.Structure):
    """pj_str_t."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))


def announce(library: str, tag: str) -> None:
    """Have pjsip support *tag*. *library*: path of pjsua2's extension module, whose endpoint exists by now.

    Raises ``StackError`` where the build does not export what is needed.
    """
    try:
        c = ctypes.CDLL(library)
        endpoint, add = c.pjsua_get_pjsip_endpt, c.pjsip_endpt_add_capability
        supports = c.pjsip_endpt_has_capability
    except (OSError, AttributeError) as error:
        raise StackError(f"this build of pjsua2 cannot be told of {tag}: {error}") from None
    endpoint.restype = ctypes.c_void_p
    kinds = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    add.argtypes = (*kinds, ctypes.c_uint, ctypes.POINTER(_Text))
    supports.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Text))
    known, text = _Text(b"100rel", 6), _Text(tag.encode(), len(tag))
    # The number of the header is one of an enumeration: where it is right, pjsip knows 100rel under it.
    if not supports(endpoint(), _SUPPORTED, None, ctypes.byref(known)):
        raise StackError("this build of pjsip numbers its headers in another way than expected")
    if add(endpoint(), None, _SUPPORTED, None, 1, ctypes.byref(text)) != 0:
        raise StackError(f"pjsip did not take {tag} for supported")
