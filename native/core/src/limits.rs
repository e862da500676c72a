//! How much of a message this side is willing to process: `sipmikey.mikey.limits`.

/// Upper bounds, as in the class `Limits` of the Python core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a whole message.
    pub message_bytes: i64,
    /// Payloads of one chain.
    pub payloads: i64,
    /// Entries of the CS ID map.
    pub crypto_sessions: i64,
    /// CERT payloads of a message.
    pub certificates: i64,
    /// Parameters of one SP payload.
    pub policy_parameters: i64,
    /// TP Data inside TP Data.
    pub nesting: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 65_535,
            payloads: 64,
            crypto_sessions: 64,
            certificates: 8,
            policy_parameters: 64,
            nesting: 4,
        }
    }
}
