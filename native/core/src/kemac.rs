//! KEMAC, key data sub-payloads and DH: `sipmikey.mikey.kemac` and `sipmikey.mikey.dh`.

use crate::fault::{Fault, Kind, Outcome};
use crate::limits::Limits;
use crate::payload::{Payload, read_chain, unknown};
use crate::reader::Reader;
use crate::registry::{dh_length, has_salt, is_encr_alg, is_key_data_type, mac_length, payload, validity};

/// KEMAC (RFC 3830 section 6.2).
#[derive(Debug, PartialEq, Eq)]
pub struct Kemac<'a> {
    /// Encr alg, registered.
    pub encr_alg: u8,
    /// Encr data, 0 to 65535 octets.
    pub encr_data: &'a [u8],
    /// Mac alg, registered.
    pub mac_alg: u8,
    /// MAC, as long as its algorithm says.
    pub mac: &'a [u8],
}

/// Key validity (RFC 3830 section 6.14).
#[derive(Debug, PartialEq, Eq)]
pub enum Validity<'a> {
    /// Neither SPI nor interval.
    Null,
    /// An SPI.
    Spi(&'a [u8]),
    /// Valid From and Valid To.
    Interval(&'a [u8], &'a [u8]),
}

/// Key data sub-payload (RFC 3830 section 6.13).
#[derive(PartialEq, Eq)]
pub struct KeyData<'a> {
    /// Type, registered.
    pub key_type: u8,
    /// Key data.
    pub key: &'a [u8],
    /// Salt data, where the type has it.
    pub salt: Option<&'a [u8]>,
    /// Key validity.
    pub validity: Validity<'a>,
}

impl std::fmt::Debug for KeyData<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "KeyData {{ key_type: {}, key: {} bytes }}", self.key_type, self.key.len())
    }
}

/// DH data payload (RFC 3830 section 6.4).
#[derive(Debug, PartialEq, Eq)]
pub struct Dh<'a> {
    /// DH-Group, registered.
    pub group: u8,
    /// DH-value, as long as its group says.
    pub value: &'a [u8],
    /// 4 reserved bits.
    pub reserved: u8,
    /// Key validity.
    pub validity: Validity<'a>,
}

impl<'a> Kemac<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Outcome<Self> {
        let offset = reader.offset();
        let encr_alg = reader.u8("Encr alg")?;
        if !is_encr_alg(encr_alg) {
            return Err(unknown(Kind::Encryption, encr_alg, "Encr alg", offset));
        }
        let length = usize::from(reader.u16("Encr data len")?);
        let encr_data = reader.take(length, "Encr data")?;
        let offset = reader.offset();
        let mac_alg = reader.u8("Mac alg")?;
        let Some(length) = mac_length(mac_alg) else {
            return Err(unknown(Kind::Mac, mac_alg, "Mac alg", offset));
        };
        Ok(Self { encr_alg, encr_data, mac_alg, mac: reader.take(length, "MAC")? })
    }
}

impl<'a> Validity<'a> {
    fn check(kind: u8, offset: usize) -> Outcome<()> {
        if kind > validity::INTERVAL {
            return Err(unknown(Kind::Malformed, kind, "KV", offset));
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'a>, kind: u8) -> Outcome<Self> {
        Ok(match kind {
            validity::SPI => {
                let length = usize::from(reader.u8("SPI Length")?);
                Self::Spi(reader.take(length, "SPI")?)
            }
            validity::INTERVAL => {
                let length = usize::from(reader.u8("VF Length")?);
                let valid_from = reader.take(length, "Valid From")?;
                let length = usize::from(reader.u8("VT Length")?);
                Self::Interval(valid_from, reader.take(length, "Valid To")?)
            }
            _ => Self::Null,
        })
    }
}

impl<'a> KeyData<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Outcome<Self> {
        let offset = reader.offset();
        let octet = reader.u8("Type and KV")?;
        let key_type = octet >> 4;
        if !is_key_data_type(key_type) {
            return Err(unknown(Kind::Malformed, key_type, "Key data Type", offset));
        }
        Validity::check(octet & 0xF, offset)?;
        let length = usize::from(reader.u16("Key data len")?);
        let key = reader.take(length, "Key data")?;
        let mut salt = None;
        if has_salt(key_type) {
            let length = usize::from(reader.u16("Salt len")?);
            salt = Some(reader.take(length, "Salt data")?);
        }
        Ok(Self { key_type, key, salt, validity: Validity::read(reader, octet & 0xF)? })
    }
}

impl<'a> Dh<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Outcome<Self> {
        let offset = reader.offset();
        let group = reader.u8("DH-Group")?;
        let Some(length) = dh_length(group) else {
            return Err(unknown(Kind::DhGroup, group, "DH-Group", offset));
        };
        let value = reader.take(length, "DH-value")?;
        let offset = reader.offset();
        let octet = reader.u8("KV")?;
        Validity::check(octet & 0xF, offset)?;
        let validity = Validity::read(reader, octet & 0xF)?;
        Ok(Self { group, value, reserved: octet >> 4, validity })
    }
}

/// Read the plaintext of a KEMAC (RFC 6043 section 4.2.1.5); offsets count from its first octet.
pub fn read_key_data<'a>(plaintext: &'a [u8], limits: &Limits) -> Outcome<Vec<KeyData<'a>>> {
    if plaintext.is_empty() {
        return Ok(Vec::new());
    }
    let chain = read_chain(payload::KEY_DATA, &mut Reader::new(plaintext, 0), limits, "KEMAC")?;
    let mut keys = Vec::with_capacity(chain.len());
    for (offset, item) in chain {
        match item {
            Payload::KeyData(key) => keys.push(key),
            _ => {
                let detail = "only key data stands in a KEMAC";
                return Err(Fault::at(Kind::Malformed, detail, "KEMAC", offset));
            }
        }
    }
    Ok(keys)
}
