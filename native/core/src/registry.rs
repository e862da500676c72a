//! The registered values that decide how octets are read: `sipmikey.mikey.registry`.

/// HDR version (RFC 3830 section 6.1).
pub const MIKEY_VERSION: u8 = 1;

/// Numbers of payloads (RFC 3830 table 6.1.b, RFC 6043 table 6.2).
pub mod payload {
    #![allow(missing_docs)]
    pub const LAST: u8 = 0;
    pub const KEMAC: u8 = 1;
    pub const PKE: u8 = 2;
    pub const DH: u8 = 3;
    pub const SIGN: u8 = 4;
    pub const T: u8 = 5;
    pub const ID: u8 = 6;
    pub const CERT: u8 = 7;
    pub const CHASH: u8 = 8;
    pub const V: u8 = 9;
    pub const SP: u8 = 10;
    pub const RAND: u8 = 11;
    pub const ERR: u8 = 12;
    pub const TR: u8 = 13;
    pub const IDR: u8 = 14;
    pub const RANDR: u8 = 15;
    pub const TP: u8 = 16;
    pub const TICKET: u8 = 17;
    pub const KEY_DATA: u8 = 20;
    pub const EXT: u8 = 21;
}

/// CS ID map types (RFC 3830 table 6.1.d, RFC 4563 table 3, RFC 6043 table 6.4).
pub mod map_type {
    #![allow(missing_docs)]
    pub const SRTP_ID: u8 = 0;
    pub const EMPTY: u8 = 1;
    pub const GENERIC_ID: u8 = 2;
}

/// KV of a key data sub-payload (RFC 3830 table 6.13.b).
pub mod validity {
    #![allow(missing_docs)]
    pub const NULL: u8 = 0;
    pub const SPI: u8 = 1;
    pub const INTERVAL: u8 = 2;
}

/// Encryption algorithms of a KEMAC (RFC 3830 table 6.2.a, RFC 6043 table 6.5).
pub mod encr_alg {
    #![allow(missing_docs)]
    pub const NULL: u8 = 0;
    pub const AES_CM_128: u8 = 1;
    pub const AES_KW_128: u8 = 2;
    pub const AES_CM_256: u8 = 3;
}

/// Security protocol SRTP (RFC 3830 table 6.10).
pub const PROT_SRTP: u8 = 0;

/// Tell whether an HDR data type is registered.
pub fn is_data_type(value: u8) -> bool {
    matches!(value, 0..=6 | 11..=18)
}

/// Tell whether a PRF func is registered.
pub fn is_prf(value: u8) -> bool {
    value <= 1
}

/// Tell whether a CS ID map type is registered.
pub fn is_map_type(value: u8) -> bool {
    value <= 2
}

/// Tell whether a KEMAC encryption algorithm is registered.
pub fn is_encr_alg(value: u8) -> bool {
    value <= 3
}

/// Tell whether a key data type is registered.
pub fn is_key_data_type(value: u8) -> bool {
    value <= 6
}

/// Tell whether a key data type has a salt.
pub fn has_salt(value: u8) -> bool {
    matches!(value, 1 | 3 | 5)
}

/// Return the length of a MAC by its algorithm, in bytes.
pub fn mac_length(value: u8) -> Option<usize> {
    match value {
        0 => Some(0),
        1 => Some(20),
        2 => Some(32),
        _ => None,
    }
}

/// Return the length of a timestamp by its type, in bytes.
pub fn timestamp_length(value: u8) -> Option<usize> {
    match value {
        0 | 1 => Some(8),
        2 | 3 => Some(4),
        _ => None,
    }
}

/// Return the length of a hash by its function, in bytes.
pub fn hash_length(value: u8) -> Option<usize> {
    match value {
        0 => Some(20),
        1 => Some(16),
        2 => Some(32),
        _ => None,
    }
}

/// Return the length of a DH value by its group, in bytes.
pub fn dh_length(value: u8) -> Option<usize> {
    match value {
        0 => Some(192),
        1 => Some(96),
        2 => Some(128),
        _ => None,
    }
}
