"""Sound devices: a microphone, a speaker and a ringer for calls, whatever engine runs their media.

Modules by subject: `devices` (which there are, by name), `bridge` (from a call's clock to theirs and back),
`elastic` (two clocks that drift), `shaping` (volume, gate, levels), `tones` (what a telephone plays by
itself), `mixing` (several calls that hear each other), `trial` (record and play back). Needs the extra
``sipmikey[sound]``.

Samples are float32 arrays of numpy in mono, full scale being 1.0; octets are 16-bit native-endian samples.
"""
