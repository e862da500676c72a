//! Numbering the packets sent and counting those received: `sipmikey.media.rtp` and
//! `sipmikey.media.statistics`.

const HALF: i64 = 1 << 15;
const SPACE: i64 = 1 << 16;
const NS: f64 = 1e9;

/// Numbers the packets of one outgoing stream of fixed-length frames.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Packetiser {
    pub ssrc: u32,
    pub payload_type: u8,
    pub samples: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub packets: u64,
    pub octets: u64,
}

impl Packetiser {
    /// Return the next RTP packet.
    pub fn next(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(payload.len().saturating_add(12));
        packet.extend_from_slice(&[0x80, u8::from(self.marker) << 7 | self.payload_type]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(payload);
        self.marker = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.samples);
        self.packets = self.packets.saturating_add(1);
        self.octets = self.octets.saturating_add(payload.len() as u64);
        packet
    }

    /// Let one frame's time pass without a packet.
    pub fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(self.samples);
        self.marker = true;
    }
}

/// Counts what has been authenticated of one SSRC (RFC 3550 appendix A).
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Counter {
    pub scale: f64,
    pub base: i64,
    pub highest: i64,
    pub transit: f64,
    pub jitter: f64,
    pub received: i64,
    pub octets: i64,
    pub reordered: i64,
}

impl Counter {
    /// Count at a clock rate in Hz.
    pub fn new(clock_rate: f64) -> Self {
        let zero = 0;
        Self {
            scale: clock_rate / NS,
            base: -1,
            highest: zero,
            transit: 0.0,
            jitter: 0.0,
            received: zero,
            octets: zero,
            reordered: zero,
        }
    }

    /// Count one packet; return its extended sequence number.
    pub fn count(&mut self, sequence: u16, timestamp: u32, octets: usize, arrival_ns: i64) -> i64 {
        let transit = arrival_ns as f64 * self.scale - f64::from(timestamp);
        let sequence = i64::from(sequence);
        let extended;
        if self.base < 0 {
            extended = sequence;
            self.base = sequence;
            self.highest = sequence;
        } else {
            let ahead = sequence.wrapping_sub(self.highest).rem_euclid(SPACE);
            if ahead < HALF {
                extended = self.highest.saturating_add(ahead);
                self.highest = extended;
            } else {
                extended = self.highest.saturating_add(ahead).saturating_sub(SPACE);
                self.reordered = self.reordered.saturating_add(1);
            }
            let moved = (transit - self.transit).abs();
            if moved < (HALF << 8) as f64 {
                self.jitter += (moved - self.jitter) / 16.0;
            }
        }
        self.transit = transit;
        self.received = self.received.saturating_add(1);
        self.octets = self.octets.saturating_add(octets as i64);
        extended
    }
}
