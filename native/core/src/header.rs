//! Common Header HDR and its CS ID maps: `sipmikey.mikey.header`.

use crate::fault::{Fault, Kind, Outcome};
use crate::limits::Limits;
use crate::reader::Reader;
use crate::registry::{MIKEY_VERSION, is_data_type, is_map_type, is_prf, map_type};

/// One entry of the SRTP-ID map (RFC 3830 section 6.1.1).
#[derive(Debug, PartialEq, Eq)]
pub struct SrtpIdEntry {
    /// Policy_no.
    pub policy_no: u8,
    /// SSRC.
    pub ssrc: u32,
    /// ROC.
    pub roc: u32,
}

/// One block of the GENERIC-ID map (RFC 6043 section 6.1.1).
#[derive(Debug, PartialEq, Eq)]
pub struct GenericIdEntry<'a> {
    /// CS ID.
    pub cs_id: u8,
    /// Prot type.
    pub prot_type: u8,
    /// The S flag.
    pub s: bool,
    /// Policy numbers, 0 to 127.
    pub policies: &'a [u8],
    /// Session Data, 0 to 65535 octets.
    pub session_data: &'a [u8],
    /// SPI, 0 to 255 octets.
    pub spi: &'a [u8],
}

/// The CS ID map.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionMap<'a> {
    /// The Empty map, with its #CS.
    Empty(u8),
    /// The SRTP-ID map.
    SrtpId(Vec<SrtpIdEntry>),
    /// The GENERIC-ID map.
    GenericId(Vec<GenericIdEntry<'a>>),
}

/// HDR without its Next Payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Data type, registered.
    pub data_type: u8,
    /// The V flag.
    pub v: bool,
    /// PRF func, registered.
    pub prf: u8,
    /// CSB ID.
    pub csb_id: u32,
    /// CS ID map.
    pub map: SessionMap<'a>,
}

impl SrtpIdEntry {
    fn read(reader: &mut Reader<'_>) -> Outcome<Self> {
        Ok(Self { policy_no: reader.u8("Policy_no")?, ssrc: reader.u32("SSRC")?, roc: reader.u32("ROC")? })
    }
}

impl<'a> GenericIdEntry<'a> {
    fn read(reader: &mut Reader<'a>) -> Outcome<Self> {
        let cs_id = reader.u8("CS ID")?;
        let prot_type = reader.u8("Prot type")?;
        let octet = reader.u8("S and #P")?;
        let policies = reader.take(usize::from(octet & 0x7F), "Ps")?;
        let length = usize::from(reader.u16("Session Data Length")?);
        let session_data = reader.take(length, "Session Data")?;
        let length = usize::from(reader.u8("SPI Length")?);
        let spi = reader.take(length, "SPI")?;
        Ok(Self { cs_id, prot_type, s: octet & 0x80 != 0, policies, session_data, spi })
    }
}

#[cold]
fn unknown(kind: Kind, value: u8, field: &'static str, offset: usize) -> Box<Fault> {
    Fault::at(kind, format!("unknown value {value}"), field, offset)
}

impl<'a> Header<'a> {
    /// Read HDR; return it and the number of the first payload.
    pub fn read(reader: &mut Reader<'a>, limits: &Limits) -> Outcome<(Self, u8)> {
        let offset = reader.offset();
        let version = reader.u8("version")?;
        if version != MIKEY_VERSION {
            let detail = format!("version {version} is not 1");
            return Err(Fault::at(Kind::Malformed, detail, "HDR version", offset));
        }
        let data_type = reader.u8("data type")?;
        if !is_data_type(data_type) {
            return Err(unknown(Kind::DataType, data_type, "data type", offset.saturating_add(1)));
        }
        let next_payload = reader.u8("next payload")?;
        let octet = reader.u8("V and PRF func")?;
        let prf = octet & 0x7F;
        if !is_prf(prf) {
            return Err(unknown(Kind::Prf, prf, "PRF func", offset.saturating_add(3)));
        }
        let csb_id = reader.u32("CSB ID")?;
        let count = reader.u8("#CS")?;
        let kind = reader.u8("CS ID map type")?;
        if !is_map_type(kind) {
            return Err(unknown(Kind::Malformed, kind, "CS ID map type", offset.saturating_add(9)));
        }
        if i64::from(count) > limits.crypto_sessions {
            let detail = format!("more than {} crypto sessions", limits.crypto_sessions);
            return Err(Fault::at(Kind::Limit, detail, "#CS", offset.saturating_add(8)));
        }
        let map = match kind {
            map_type::GENERIC_ID => SessionMap::GenericId(
                (0..count).map(|_| GenericIdEntry::read(reader)).collect::<Outcome<_>>()?,
            ),
            map_type::SRTP_ID => {
                SessionMap::SrtpId((0..count).map(|_| SrtpIdEntry::read(reader)).collect::<Outcome<_>>()?)
            }
            _ => SessionMap::Empty(count),
        };
        Ok((Self { data_type, v: octet & 0x80 != 0, prf, csb_id, map }, next_payload))
    }
}
