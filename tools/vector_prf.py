"""PRF vectors: every edge of the 256-bit split of the inkey and of the block lengths of the outkey."""

from __future__ import annotations

from vector_source import Seed

from sipmikey.vectors.keys import prf_output

INKEYS = (1, 16, 20, 31, 32, 33, 48, 64, 65, 96)
OUTKEYS = (1, 8, 112, 128, 159, 160, 161, 168, 255, 256, 257, 320, 368, 1024)
LABELS = {
    "5.1.2 initial message": "150533e1ff00000001" + "01" + "10" + "a0" * 16 + "00",
    "5.1.3 TEK": "2ad01c6407ffffffff" + "03" + "20" + "b1" * 32 + "20" + "c2" * 32,
    "5.1.1 MPKr'": "2b288856ffffffffff" + "00" + "0005" + b"sip:b".hex() + "10" + "d3" * 16,
    "6.10 Initiator Data": "2d22ac75ffffffffff" + "04",
    "A.2.1 ticket": "29b88916ffffffffff" + "05" + "10" + "e4" * 16,
    "A.2.2 MPKi": "220e99a2ffffffffff" + "06" + "10" + "e4" * 16,
}


def make() -> list[dict[str, object]]:
    """Return the vectors."""
    found = []
    for prf in ("MIKEY-1", "HMAC-SHA-256"):
        seed = Seed(f"sipmikey prf {prf}")
        cases = [(f"inkey of {length} octets", length, 256, LABELS["5.1.3 TEK"]) for length in INKEYS]
        cases += [(f"outkey of {bits} bits", 32, bits, LABELS["5.1.2 initial message"]) for bits in OUTKEYS]
        cases += [(name, 40, 368, label) for name, label in LABELS.items()]
        cases.append(("empty label", 16, 160, ""))
        for name, length, bits, label in cases:
            inkey = seed.random(length)
            outkey = prf_output(prf, inkey, bytes.fromhex(label), bits)
            assert outkey is not None
            found.append(
                {
                    "kind": "prf",
                    "name": f"{prf} {name}",
                    "prf": prf,
                    "inkey": inkey.hex(),
                    "label": label,
                    "outkey_bits": bits,
                    "outkey": outkey.hex(),
                }
            )
    return found
