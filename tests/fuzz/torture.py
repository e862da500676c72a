"""Messages after the ideas of RFC 4475 and RFC 5118, written for this project from the rules of RFC 3261.

``ODD``: unusual and legal: a stack takes them. ``WRONG``: what no SIP element has to take.
"""

from __future__ import annotations

_SDP = "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\n" \
    "m=audio 49217 RTP/AVP 0\r\n"  # fmt: skip


def _request(method: str, *lines: str, uri: str = "sip:user@example.com", body: str = "") -> bytes:
    names = {line.partition(":")[0].strip().lower() for line in lines}
    own = {
        "via": "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw2349",
        "from": "From: <sip:caller@example.net>;tag=323",
        "to": "To: sip:user@example.com",
        "call-id": "Call-ID: torture.0ha0isnda977644900765@192.0.2.15",
        "cseq": f"CSeq: 8 {method}",
        "max-forwards": "Max-Forwards: 70",
        "contact": "Contact: <sip:caller@host5.example.net>",
        "content-length": f"Content-Length: {len(body.encode())}",
    }
    short = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}
    given = names | {short[name] for name in names if name in short}
    head = [line for name, line in own.items() if name not in given]
    return ("\r\n".join((f"{method} {uri} SIP/2.0", *lines, *head, "", "")) + body).encode(
        "utf-8", "surrogateescape"
    )


def _response(status: str, *lines: str) -> bytes:
    return b"SIP/2.0 " + status.encode() + _request("INVITE", *lines).partition(b"SIP/2.0")[2]


ODD: dict[str, bytes] = {
    "white space everywhere": _request(
        "INVITE",
        "TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
        'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8',
        "MaX-fOrWaRdS: 0068",
        "Call-ID: wsinv.ndaksdj@192.0.2.1",
        "cseq: 0009\r\n  INVITE",
        "Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw",
        "s :",
        "NewFangledHeader:   newfangled value\r\n continued newfangled value",
        "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
        " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239",
        'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n'
        "  secondparam ; q = 0.33",
    ),
    "a wide range of characters": _request(
        "!interesting-Method0123456789_*+`.%indeed'~",
        "Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~",
        'To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" '
        "<sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>",
        "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\xd1\""
        ";tag=_token~1'",
        "Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
        "CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~",
        "extensionHeader-!.%*+_`'~:\udcef\udcbb\udcbf\udce5\udca4\udca7",
        uri="sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
        "@example.com",
    ),
    "percent escapes": _request(
        "INVITE", "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
        uri="sip:sips%3Auser%40example.com@example.net",
    ),
    "escaped nulls": _request(
        "REGISTER", "To: sip:null-%00-null@example.com", "From: sip:null-%00-null@example.com;tag=839923423",
        "Contact: <sip:%00@host5.example.com>", "m: <sip:%00%00@host5.example.com>", uri="sip:example.com",
    ),
    "no space before the bracket": _request("OPTIONS", "From: caller<sip:caller@example.com>;tag=323"),
    "long values": _request(
        "INVITE",
        'To: "I have a user name of ' + "extreme" * 10 + '" <sip:user@example.com:6000;unknownparam1=very'
        + "long" * 30 + "value>",
        "Unknown-" + "Long" * 20 + ": unknown-" + "long" * 20 + "-value; unknown-parameter-name = value",
        *(f"Via: SIP/2.0/TCP sip{n}.example.com" for n in range(34, 0, -1)),
    ),
    "a semicolon in the user": _request("OPTIONS", uri="sip:user;par=u%40example.net@example.com"),
    "transports of the future": _request(
        "OPTIONS", "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw",
        "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf",
        "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en",
    ),
    "several parts": _request(
        "MESSAGE", "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655",
        body="--7a9cbec02ceef655\r\nContent-Type: text/plain\r\n\r\nHello\r\n--7a9cbec02ceef655--\r\n",
    ),
    "a reason in another script": _response("200 = 2**3 * 5**2 \u043d\u043e", "To: <sip:a@b>;tag=1"),
    "no reason": _response("100 "),
    "an unknown scheme": _request("OPTIONS", uri="nobodyKnowsThisScheme:totallyopaquecontent"),
    "schemes in From and To": _request(
        "REGISTER", "To: isbn:2983792873", "From: <http://www.example.com>;tag=3234233",
        "Contact: <name:John_Smith>", uri="sip:example.com",
    ),
    "many contacts of a registration": _request(
        "REGISTER", "Contact: sip:+19725552222@gw1.example.net;unknownparam",
        "m: <sip:+19725552222@gw1.example.net;unknownparam>;expires=5", uri="sip:example.com",
    ),
    "a redirection to other schemes": _response(
        "300 Multiple Choices", "Contact: <mailto:a@example.com>, <tel:+1555>"
    ),
    "an unknown body": _request("INVITE", "Content-Type: application/unknownformat", body="<audio/>\r\n"),
    "IPv6 addresses": _request(
        "INVITE", "Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111",
        "Contact: <sip:caller@[2001:db8::1]:5070>", "To: sip:user@[2001:db8::10]", body=_SDP,
        uri="sip:[2001:db8::10]:5070",
    ),
    "IPv6 without brackets in received": _request(
        "BYE", "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3",
        uri="sip:user@[2001:db8::10:5070]",
    ),
    "IPv4 mapped into IPv6": _request(
        "INVITE", "Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19",
        "Contact: <sip:jd@[::ffff:192.0.2.10]:5060>", "Record-Route: <sip:[2001:db8::1];lr>",
    ),
}  # fmt: skip

WRONG: dict[str, bytes] = {
    "a length beyond the end": _request("INVITE", "Content-Length: 9999", body=_SDP),
    "a negative length": _request("INVITE", "Content-Length: -999", body=_SDP),
    "a sequence number of more than 32 bits": _request("REGISTER", "CSeq: 36893488147419103232 REGISTER"),
    "a quote that is not closed": _request("INVITE", 'To: "Mr. J. User <sip:j.user@example.com>'),
    "a bracket around the Request-URI": _request("INVITE", uri="<sip:user@example.com>"),
    "a space within the Request-URI": _request("INVITE", uri="sip:user@example.com; lr"),
    "two methods": _request("OPTIONS", "CSeq: 8 INVITE"),
    "another version": _request("OPTIONS").replace(b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1),
    "a space within an address": _request("OPTIONS", 'To: "Watson, Thomas" < sip:t.watson@example.org >'),
    "no Call-ID, From or To": _request("INVITE").replace(b"Call-ID", b"X").replace(b"From:", b"Y:"),
    "two of what there is one of": _request(
        "INVITE", "CSeq: 5 INVITE", "Call-ID: a", "Call-ID: b", "From: <sip:a@b>;tag=1"
    ),
    "no host in brackets": _request("INVITE", "Contact: <sip:user@[]>"),
    "a Via without a host": _request("INVITE", "Via: SIP/2.0/UDP ;branch=z9hG4bK1"),
    "a status that is none": _response("4294967301 better not break the receiver"),
}
