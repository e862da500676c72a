"""Session descriptions for the tests of this room."""

from __future__ import annotations

from hypothesis import strategies as st

AUDIO = (
    "v=0\r\n"
    "o=alice 3906 3906 IN IP4 192.0.2.1\r\n"
    "s=-\r\n"
    "b=X-YZ:128\r\n"
    "t=0 0\r\n"
    "a=tool:a softphone\r\n"
    "m=audio 4000 RTP/AVP 0 8 101\r\n"
    "c=IN IP4 192.0.2.1\r\n"
    "a=rtcp:4001 IN IP4 192.0.2.1\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
    "a=mid:01\r\n"
    "a=sendrecv\r\n"
)

AUDIO_VIDEO = AUDIO + (
    "m=video 4002/2 RTP/AVPF 31\r\n"
    "c=IN IP4 192.0.2.1\r\n"
    "a=mid:v\r\n"
    "a=sendonly\r\n"
    "a=ssrc:4294967295 cname:alice\r\n"
)

_text = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"),  # type: ignore[arg-type]
    max_size=20,
)
_opaque = st.one_of(
    st.builds("{}={}".format, st.sampled_from("bcikru"), _text),
    st.builds("a=x-{}".format, _text),
    st.builds("a=rtpmap:{} PCMU/8000".format, st.integers(0, 127)),
    _text.filter(lambda line: not line.startswith(("m=", "a="))),
)
_media = st.builds(
    lambda media, port, protocol, rest: [f"m={media} {port} {protocol} 0", *rest],
    st.sampled_from(["audio", "video", "application", "x-foo"]),
    st.one_of(st.integers(0, 65_535).map(str), st.just("4000/2")),
    st.sampled_from(["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "udptl", "TCP/MSRP"]),
    st.lists(_opaque, max_size=4),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Any description this package reads: odd lines, CRLF or LF, with or without a last line end."""
    lines = ["v=0", *draw(st.lists(_opaque, max_size=5))]
    for section in draw(st.lists(_media, max_size=3)):
        lines.extend(section)
    ends = draw(st.lists(st.sampled_from(["\r\n", "\n"]), min_size=len(lines), max_size=len(lines)))
    if lines[-1] and draw(st.booleans()):
        ends[-1] = ""
    return "".join(line + end for line, end in zip(lines, ends, strict=True))
