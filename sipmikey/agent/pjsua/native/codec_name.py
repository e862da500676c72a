"""A codec that pjmedia has in name only, for media that runs elsewhere.

pjsua describes and negotiates the codecs that pjmedia has. One it has not is registered here: it is offered
and agreed on, and where pjmedia itself creates the codec, it gets G.711. That one is never heard, since
neither sound nor packets go through pjmedia then.
"""

from __future__ import annotations

import ctypes
from typing import Any

from sipmikey.agent.pjsua.native.functions import Text, c_function
from sipmikey.agent.stack import StackError

_AUDIO = 1  # PJMEDIA_TYPE_AUDIO
_NOT_FOUND = 70006  # PJ_ENOTFOUND
_PCMA = b"PCMA"


class _Info(ctypes.Structure):
    """pjmedia_codec_info."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("pt", ctypes.c_uint),
        ("encoding_name", Text),
        ("clock_rate", ctypes.c_uint),
        ("channel_cnt", ctypes.c_uint),
    )


_Pointer = ctypes.c_void_p
_InfoPointer = ctypes.POINTER(_Info)
_TestAlloc = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _InfoPointer)
_DefaultAttr = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _InfoPointer, _Pointer)
_EnumInfo = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.POINTER(ctypes.c_uint), _InfoPointer)
_AllocCodec = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _InfoPointer, _Pointer)
_DeallocCodec = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer)
_Destroy = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer)


class _Operations(ctypes.Structure):
    """pjmedia_codec_factory_op."""

    _fields_ = (
        ("test_alloc", _TestAlloc),
        ("default_attr", _DefaultAttr),
        ("enum_info", _EnumInfo),
        ("alloc_codec", _AllocCodec),
        ("dealloc_codec", _DeallocCodec),
        ("destroy", _Destroy),
    )


class _Factory(ctypes.Structure):
    """pjmedia_codec_factory."""

    _fields_ = (
        ("prev", _Pointer),
        ("next", _Pointer),
        ("factory_data", _Pointer),
        ("op", ctypes.POINTER(_Operations)),
    )


class CodecName:
    """The codec *name* (lower case), as a=rtpmap has it: ``opus/48000/2``. Must outlive the library's use.

    The endpoint of pjsua2 exists by now. Raises ``StackError`` where
    the build does not export what is needed.
    """

    def __init__(self, name: str, *, clock_rate: int, channels: int, payload_type: int) -> None:
        self._register = c_function("pjmedia_codec_mgr_register_factory")
        self._param = c_function("pjmedia_codec_mgr_get_default_param")
        self._alloc = c_function("pjmedia_codec_mgr_alloc_codec")
        self._manager = c_function("pjmedia_endpt_get_codec_mgr")(c_function("pjsua_get_pjmedia_endpt")())
        self._name = name.encode()
        self._info = _info(self._name, payload_type, clock_rate, channels)
        self._real = _info(_PCMA, 8, 8000, 1)
        self._operations = _Operations(
            _TestAlloc(self._has),
            _DefaultAttr(lambda _, info, param: self._of_real(self._param, info, param)),
            _EnumInfo(self._enumerate),
            _AllocCodec(lambda _, info, codec: self._of_real(self._alloc, info, codec)),
            _DeallocCodec(lambda _, codec: 0),
            _Destroy(lambda _: 0),
        )
        self._factory = _Factory(op=ctypes.pointer(self._operations))
        status = self._register(self._manager, ctypes.byref(self._factory))
        if status != 0:
            raise StackError(f"pjmedia does not take the codec {name}", status)

    def _has(self, _: Any, info: Any) -> int:
        asked = ctypes.string_at(info.contents.encoding_name.ptr, info.contents.encoding_name.slen).lower()
        return 0 if asked == self._name else _NOT_FOUND

    def _enumerate(self, _: Any, count: Any, codecs: Any) -> int:
        codecs[0] = self._info
        count[0] = 1
        return 0

    def _of_real(self, function: Any, info: Any, result: Any) -> int:
        if self._has(None, info) != 0:
            return _NOT_FOUND
        return int(function(self._manager, ctypes.byref(self._real), result))


def _info(name: bytes, payload_type: int, clock_rate: int, channels: int) -> _Info:
    return _Info(_AUDIO, payload_type, Text.of(name), clock_rate, channels)
