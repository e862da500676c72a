"""Corrections to the refusals that pjsip writes by itself, made before they leave.

pjsip refuses an offer within a call with a response of its own, to which pjsua2 adds nothing. This pjsip
module, written with ctypes, adds our header fields. It takes out every Warning with the name of this machine
in it, which pjsip adds. At the start, a message of our own shows where messages are in a ``pjsip_tx_data``.
"""

from __future__ import annotations

import ctypes
import logging
import secrets

from sipmikey.agent.pjsua.native.functions import Module, OnMessage, Text, c_function, endpoint, register
from sipmikey.agent.stack import Headers, StackError

_log = logging.getLogger("sipmikey.agent.pjsua.native.refusals")

_BEFORE_PRINTING = 9
"""Modules with a higher number see a message that goes out earlier; pjsip prints it at 8."""

_PASS = 0
_REQUEST, _RESPONSE = 0, 1
_OPTIONS = 5
_FAILURE = 300
_SEARCHED = 2000
_BLOCK = 3500
_INT = 0xFFFFFFFF
_POOL, _CODE, _VALUE = 16, 8, 64
"""Where ``pool`` is in pjsip_tx_data, the status in pjsip_msg, the value in pjsip_generic_string_hdr."""

_MOST = 64
_WARNING, _CALL_ID = b"Warning", b"Call-ID"


class Refusals:
    """The module. The endpoint of pjsua2 exists by now.

    Raises ``StackError`` where the build lacks what is needed or has an unexpected layout.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[int, Headers]] = {}
        self._callback = OnMessage(self._look)
        self._module = Module(
            name=Text.of(b"mod-sipmikey-refusals"), id=-1, priority=_BEFORE_PRINTING,
            on_tx_response=self._callback,
        )  # fmt: skip
        self._find_field = c_function("pjsip_msg_find_hdr_by_name")
        self._make_field = c_function("pjsip_generic_string_hdr_create")
        self._insert_after, self._erase = c_function("pj_list_insert_after"), c_function("pj_list_erase")
        self._phrase = c_function("pjsip_get_status_text")
        name = c_function("pj_gethostname")().contents
        self._host = bytes(ctypes.string_at(name.ptr, name.slen))
        self._message_at = self._find()
        register(self._module)

    def explain(self, call_id: str, status: int, headers: Headers) -> None:
        """Make the next response that refuses something within the call *call_id* one of *status* (0: any).

        It gets those of *headers* that it does not have already.
        """
        if status or headers:
            self._reasons[call_id] = status, headers
        while len(self._reasons) > _MOST:
            del self._reasons[next(iter(self._reasons))]

    def _find(self) -> int:
        """Return the offset of ``msg``: it points to a message with the Call-ID of ours."""
        name = secrets.token_hex(12).encode()
        uri, call_id = _text(b"sip:%s@localhost" % name), _text(name)
        data = ctypes.c_void_p()
        options = c_function("pjsip_get_options_method")()
        status = c_function("pjsip_endpt_create_request")(
            endpoint(), options, uri, uri, uri, None, call_id, 1, None, ctypes.byref(data)
        )
        if status != 0 or not data.value:
            raise StackError("pjsip did not make a message")
        try:
            # pjsip takes both from one block of memory, of 4000 octets: all that is read here is in it.
            for offset in range(_POOL + 8, _SEARCHED, 8):
                at = _word(data.value + offset)
                if data.value < at < data.value + _BLOCK and self._is_ours(at, name):
                    return offset
        finally:
            c_function("pjsip_tx_data_dec_ref")(data)
        raise StackError("this build of pjsip has an unexpected layout: no message found")

    def _is_ours(self, at: int, name: bytes) -> bool:
        """Return whether the message we made is at *at*: an OPTIONS request with our Call-ID."""
        method = _word(at + _CODE) & _INT, _word(at + _CODE + 16)
        if _word(at) & _INT != _REQUEST or method != (_OPTIONS, len("OPTIONS")):
            return False
        field = self._field(at, _CALL_ID)
        return field is not None and _value(field) == name

    def _look(self, data: int) -> int:
        # Nothing may be raised from here.
        try:
            self._complete(data)
        except Exception:  # noqa: BLE001 - the response goes out as pjsip made it
            _log.exception("a response could not be completed")
        return _PASS

    def _complete(self, data: int) -> None:
        message = _word(data + self._message_at)
        if _word(message) & _INT != _RESPONSE or _word(message + _CODE) & _INT < _FAILURE:
            return
        while (field := self._field_of_this_host(message)) is not None:
            self._erase(field)
        call_id = self._field(message, _CALL_ID)
        if call_id is None:
            return
        status, headers = self._reasons.pop(_value(call_id).decode("utf-8", "replace"), (0, ()))
        if status:
            self._set_status(message, status)
        for name, value in headers:
            if self._field(message, name.encode()) is not None:
                continue
            made = self._make_field(_word(data + _POOL), _text(name.encode()), _text(value.encode()))
            self._insert_after(call_id, made)

    def _set_status(self, message: int, status: int) -> None:
        """Refuse with *status*: pjsip itself answers 488 for every refused offer."""
        ctypes.c_int.from_address(message + _CODE).value = status
        phrase: int = self._phrase(status)
        for offset in (0, 8):
            ctypes.c_uint64.from_address(message + _CODE + 8 + offset).value = _word(phrase + offset)

    def _field_of_this_host(self, message: int) -> int | None:
        """Return a Warning whose agent is the name of this machine, None where there is none."""
        field = self._field(message, _WARNING)
        while field is not None:
            if _value(field).split(b" ", 2)[1:2] == [self._host]:
                return field
            field = self._field(message, _WARNING, _word(field + 8))
        return None

    def _field(self, message: int, name: bytes, start: int | None = None) -> int | None:
        found: int | None = self._find_field(message, _text(name), start)
        return found


def _text(octets: bytes) -> ctypes._Pointer[Text]:
    return ctypes.pointer(Text.of(octets))


def _word(at: int) -> int:
    return ctypes.c_uint64.from_address(at).value


def _value(field: int) -> bytes:
    """Return the value of a pjsip_generic_string_hdr."""
    return ctypes.string_at(_word(field + _VALUE), _word(field + _VALUE + 8))
