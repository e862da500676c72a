"""The C functions of pjlib, pjsip and pjmedia that are called by ctypes, loaded and declared only here.

The extension module of pjsua2 exports them, and SWIG wraps none of them.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from typing import Any

from sipmikey.agent.pjsua.library import LIBRARY
from sipmikey.agent.stack import StackError

_Declaration = tuple[Any, tuple[Any, ...]]
"""Type of the result (None: void), types of the arguments."""

OnMessage = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Text(ctypes.Structure):
    """pj_str_t."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))

    @classmethod
    def of(cls, octets: bytes) -> Text:
        """Return *octets*, which the structure keeps alive."""
        return cls(octets, len(octets))


class Module(ctypes.Structure):
    """pjsip_module."""

    _fields_ = (
        ("prev", ctypes.c_void_p), ("next", ctypes.c_void_p), ("name", Text), ("id", ctypes.c_int),
        ("priority", ctypes.c_int), ("load", ctypes.c_void_p), ("start", ctypes.c_void_p),
        ("stop", ctypes.c_void_p), ("unload", ctypes.c_void_p), ("on_rx_request", OnMessage),
        ("on_rx_response", OnMessage), ("on_tx_request", OnMessage), ("on_tx_response", OnMessage),
        ("on_tsx_state", ctypes.c_void_p),
    )  # fmt: skip


class Crypto(ctypes.Structure):
    """pjmedia_srtp_crypto."""

    _fields_ = (("key", Text), ("name", Text), ("flags", ctypes.c_uint))


class Frame(ctypes.Structure):
    """pjmedia_frame."""

    _fields_ = (
        ("type", ctypes.c_int), ("buf", ctypes.c_void_p), ("size", ctypes.c_size_t),
        ("timestamp", ctypes.c_uint64), ("bit_info", ctypes.c_uint32),
    )  # fmt: skip


class Selector(ctypes.Structure):
    """pjsip_tpselector."""

    _fields_ = (("type", ctypes.c_int), ("no_reuse", ctypes.c_int), ("transport", ctypes.c_void_p))


class RtpSessions(ctypes.Structure):
    """pjmedia_stream_rtp_sess_info."""

    _fields_ = (("rx_rtp", ctypes.c_void_p), ("tx_rtp", ctypes.c_void_p), ("rtcp", ctypes.c_void_p))


_INT, _UNSIGNED, _SIZE, _AT, _OCTETS = (
    ctypes.c_int, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p,
)  # fmt: skip
_TEXT = ctypes.POINTER(Text)

_DECLARED: Mapping[str, _Declaration] = {
    # pjlib
    "pj_gethostname": (_TEXT, ()),
    "pj_list_erase": (None, (_AT,)),
    "pj_list_insert_after": (None, (_AT, _AT)),
    "pj_log_get_level": (_INT, ()),
    "pj_log_get_log_func": (_AT, ()),
    "pj_log_set_level": (None, (_INT,)),
    "pj_log_set_log_func": (None, (_AT,)),
    "pj_pool_release": (None, (_AT,)),
    # pjsip
    "pjsip_endpt_add_capability": (_INT, (_AT, _AT, _INT, _AT, _UNSIGNED, _TEXT)),
    "pjsip_endpt_create_request": (
        _INT, (_AT, _AT, *(_TEXT,) * 5, _INT, _AT, ctypes.POINTER(ctypes.c_void_p)),
    ),
    "pjsip_endpt_get_tpmgr": (_AT, (_AT,)),
    "pjsip_endpt_has_capability": (_INT, (_AT, _INT, _AT, _TEXT)),
    "pjsip_endpt_register_module": (_INT, (_AT, ctypes.POINTER(Module))),
    "pjsip_endpt_respond_stateless": (_INT, (_AT, _AT, _INT, _AT, _AT, _AT)),
    "pjsip_generic_string_hdr_create": (_AT, (_AT, _TEXT, _TEXT)),
    "pjsip_get_options_method": (_AT, ()),
    "pjsip_get_status_text": (_AT, (_INT,)),
    "pjsip_msg_find_hdr_by_name": (_AT, (_AT, _TEXT, _AT)),
    "pjsip_retry_after_hdr_create": (_AT, (_AT, _INT)),
    "pjsip_tpmgr_send_raw": (
        _INT, (_AT, _INT, ctypes.POINTER(Selector), _AT, _OCTETS, _SIZE, _OCTETS, _INT, _AT, _AT),
    ),
    "pjsip_transport_shutdown": (_INT, (_AT,)),
    "pjsip_tx_data_dec_ref": (_INT, (_AT,)),
    "pjsua_get_pjsip_endpt": (_AT, ()),
    "pjsua_pool_create": (_AT, (_OCTETS, _SIZE, _SIZE)),
    # pjmedia
    "pjsua_get_pjmedia_endpt": (_AT, ()),
    "pjmedia_codec_mgr_alloc_codec": (_INT, (_AT, _AT, _AT)),
    "pjmedia_codec_mgr_get_default_param": (_INT, (_AT, _AT, _AT)),
    "pjmedia_codec_mgr_register_factory": (_INT, (_AT, _AT)),
    "pjmedia_endpt_get_codec_mgr": (_AT, (_AT,)),
    "pjmedia_echo_cancel": (_INT, (_AT, _OCTETS, _OCTETS, _UNSIGNED, _AT)),
    "pjmedia_echo_create2": (_INT, (_AT, *(_UNSIGNED,) * 6, ctypes.POINTER(ctypes.c_void_p))),
    "pjmedia_echo_destroy": (_INT, (_AT,)),
    "pjmedia_port_get_frame": (_INT, (_AT, ctypes.POINTER(Frame))),
    "pjmedia_port_put_frame": (_INT, (_AT, ctypes.POINTER(Frame))),
    "pjmedia_rtp_session_init": (_INT, (_AT, _INT, ctypes.c_uint32)),
    "pjmedia_rtp_session_update": (None, (_AT, _AT, _AT)),
    "pjmedia_sdp_print": (_INT, (_AT, _OCTETS, _SIZE)),
    "pjmedia_stream_get_rtp_session_info": (_INT, (_AT, ctypes.POINTER(RtpSessions))),
    "pjmedia_stream_get_transport": (_AT, (_AT,)),
    "pjmedia_stream_pause": (_INT, (_AT, _INT)),
    "pjmedia_stream_resume": (_INT, (_AT, _INT)),
    "pjmedia_transport_srtp_start": (_INT, (_AT, ctypes.POINTER(Crypto), ctypes.POINTER(Crypto))),
    "pjmedia_transport_srtp_stop": (_INT, (_AT,)),
}  # fmt: skip


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(LIBRARY)


@functools.cache
def c_function(name: str) -> Callable[..., Any]:
    """Return a C function, its types declared. Raises ``StackError`` where this build does not export it."""
    result, arguments = _DECLARED[name]
    try:
        function = getattr(_library(), name)
    except (OSError, AttributeError):
        raise StackError(
            f"this build of pjsua2 does not export {name}; use the wheel pjsua2-python"
        ) from None
    function.restype, function.argtypes = result, arguments
    return function  # type: ignore[no-any-return]


def endpoint() -> int:
    """Return the address of pjsip's endpoint, which pjsua2 has made before."""
    return int(c_function("pjsua_get_pjsip_endpt")() or 0)


def register(module: Module) -> None:
    """Have pjsip call *module*, which must stay alive. Raises ``StackError`` where it does not take it."""
    at = endpoint()
    if not at or c_function("pjsip_endpt_register_module")(at, ctypes.byref(module)) != 0:
        raise StackError(f"pjsip did not take the module {module.name.ptr.decode()}")
