//! The payloads and the chain that links them: `sipmikey.mikey.payload` and the modules it registers.

use crate::fault::{Fault, Kind, Outcome};
use crate::kemac::{Dh, Kemac, KeyData};
use crate::limits::Limits;
use crate::policy::{Policy, Ticket};
use crate::reader::Reader;
use crate::registry::{PROT_SRTP, hash_length, mac_length, payload, timestamp_length};

/// A TS type and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// TS type, registered.
    pub ts_type: u8,
    /// TS value: 64 or 32 bits, by type.
    pub value: u64,
}

/// Security Policy payload; parameters are (type, value).
#[derive(Debug, PartialEq, Eq)]
pub struct Sp<'a> {
    /// Policy no.
    pub policy_no: u8,
    /// Prot type.
    pub prot_type: u8,
    /// Parameters in order.
    pub params: Vec<(u8, &'a [u8])>,
}

/// A payload, with the octets it is made of.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Payload<'a> {
    Kemac(Kemac<'a>),
    Pke { cache: u8, data: &'a [u8] },
    Dh(Dh<'a>),
    Sign { signature_type: u8, signature: &'a [u8] },
    T(Timestamp),
    Id { id_type: u8, data: &'a [u8] },
    Cert { cert_type: u8, data: &'a [u8] },
    Chash { hash_func: u8, hash: &'a [u8] },
    V { auth_alg: u8, mac: &'a [u8] },
    Sp(Sp<'a>),
    Rand { rand: &'a [u8] },
    Err { error_no: u8, reserved: u16 },
    Tr { role: u8, timestamp: Timestamp },
    Idr { role: u8, id_type: u8, data: &'a [u8] },
    Randr { role: u8, rand: &'a [u8] },
    Tp(Policy<'a>),
    Ticket(Ticket<'a>),
    KeyData(KeyData<'a>),
    Ext { ext_type: u8, data: &'a [u8] },
}

/// A chain of payloads, each with the offset of its first octet.
pub type Chain<'a> = Vec<(usize, Payload<'a>)>;

#[cold]
pub(crate) fn unknown(kind: Kind, value: u8, field: &'static str, offset: usize) -> Box<Fault> {
    Fault::at(kind, format!("unknown value {value}"), field, offset)
}

fn next_payload_field(number: u8) -> Option<&'static str> {
    Some(match number {
        payload::KEMAC => "KEMAC next payload",
        payload::PKE => "PKE next payload",
        payload::DH => "DH next payload",
        payload::SIGN => "SIGN next payload",
        payload::T => "T next payload",
        payload::ID => "ID next payload",
        payload::CERT => "CERT next payload",
        payload::CHASH => "CHASH next payload",
        payload::V => "V next payload",
        payload::SP => "SP next payload",
        payload::RAND => "RAND next payload",
        payload::ERR => "ERR next payload",
        payload::TR => "TR next payload",
        payload::IDR => "IDR next payload",
        payload::RANDR => "RANDR next payload",
        payload::TP => "TP next payload",
        payload::TICKET => "TICKET next payload",
        payload::KEY_DATA => "KEY_DATA next payload",
        payload::EXT => "EXT next payload",
        _ => return None,
    })
}

/// Read payloads until Next Payload is 0, and fail where octets follow.
pub fn read_chain<'a>(
    first: u8,
    reader: &mut Reader<'a>,
    limits: &Limits,
    what: &'static str,
) -> Outcome<Chain<'a>> {
    let mut chain = Chain::with_capacity(12);
    let mut certificates: i64 = 0;
    let mut following = first;
    while following != payload::LAST {
        let number = following;
        let Some(field) = next_payload_field(number) else {
            let detail = format!("unknown payload number {number}");
            return Err(Fault::at(Kind::Malformed, detail, format!("{what} next payload"), reader.offset()));
        };
        let offset = reader.offset();
        if chain.len() as i64 >= limits.payloads {
            let detail = format!("more than {} payloads", limits.payloads);
            return Err(Fault::at(Kind::Limit, detail, what, offset));
        }
        certificates += i64::from(number == payload::CERT);
        if certificates > limits.certificates {
            let detail = format!("more than {} certificates", limits.certificates);
            return Err(Fault::at(Kind::Limit, detail, what, offset));
        }
        // SIGN, which ends a message, has no Next Payload.
        following = if number == payload::SIGN { payload::LAST } else { reader.u8(field)? };
        chain.push((offset, Payload::read(number, reader, limits)?));
    }
    reader.finish(what)?;
    Ok(chain)
}

impl Timestamp {
    /// Read TS type and TS value.
    pub fn read(reader: &mut Reader<'_>) -> Outcome<Self> {
        let offset = reader.offset();
        let ts_type = reader.u8("TS type")?;
        let Some(length) = timestamp_length(ts_type) else {
            return Err(unknown(Kind::Timestamp, ts_type, "TS type", offset));
        };
        let octets = reader.take(length, "TS value")?;
        let value = octets.iter().fold(0, |value, octet| value << 8 | u64::from(*octet));
        Ok(Self { ts_type, value })
    }

    /// Return the 8 octets used where a 64-bit timestamp is required (RFC 6043 section 6.3).
    pub fn iv(&self) -> u64 {
        if self.ts_type == 3 { self.value << 32 } else { self.value }
    }
}

impl<'a> Sp<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Outcome<Self> {
        let policy_no = reader.u8("Policy no")?;
        let prot_type = reader.u8("Prot type")?;
        let length = usize::from(reader.u16("Policy param length")?);
        let mut inner = reader.sub(length, "Policy param")?;
        let mut params = Vec::with_capacity(12);
        while inner.remaining() > 0 {
            if params.len() as i64 >= limits.policy_parameters {
                let detail = format!("more than {} parameters", limits.policy_parameters);
                return Err(Fault::at(Kind::Limit, detail, "SP", inner.offset()));
            }
            let kind = inner.u8("SP param type")?;
            let length = usize::from(inner.u8("SP param length")?);
            params.push((kind, inner.take(length, "SP param value")?));
        }
        Ok(Self { policy_no, prot_type, params })
    }

    /// Tell whether the parameters are SRTP's.
    pub fn is_srtp(&self) -> bool {
        self.prot_type == PROT_SRTP
    }
}

fn long<'a>(reader: &mut Reader<'a>, length: &'static str, field: &'static str) -> Outcome<&'a [u8]> {
    let count = usize::from(reader.u16(length)?);
    reader.take(count, field)
}

fn short<'a>(reader: &mut Reader<'a>, length: &'static str, field: &'static str) -> Outcome<&'a [u8]> {
    let count = usize::from(reader.u8(length)?);
    reader.take(count, field)
}

/// Read an algorithm's number and the octets whose length it says.
fn sized<'a>(
    reader: &mut Reader<'a>,
    length_of: fn(u8) -> Option<usize>,
    kind: Kind,
    number_field: &'static str,
    field: &'static str,
) -> Outcome<(u8, &'a [u8])> {
    let offset = reader.offset();
    let number = reader.u8(number_field)?;
    let Some(length) = length_of(number) else {
        return Err(unknown(kind, number, number_field, offset));
    };
    Ok((number, reader.take(length, field)?))
}

impl<'a> Payload<'a> {
    /// Read the octets after Next Payload of payload `number`.
    fn read(number: u8, reader: &mut Reader<'a>, limits: &Limits) -> Outcome<Self> {
        Ok(match number {
            payload::KEMAC => Self::Kemac(Kemac::read(reader)?),
            payload::PKE => {
                let word = reader.u16("PKE Data len")?;
                let data = reader.take(usize::from(word & 0x3FFF), "PKE Data")?;
                Self::Pke { cache: (word >> 14) as u8, data }
            }
            payload::DH => Self::Dh(Dh::read(reader)?),
            payload::SIGN => {
                let word = reader.u16("Signature len")?;
                let signature = reader.take(usize::from(word & 0x0FFF), "Signature")?;
                Self::Sign { signature_type: (word >> 12) as u8, signature }
            }
            payload::T => Self::T(Timestamp::read(reader)?),
            payload::ID => {
                let id_type = reader.u8("ID Type")?;
                Self::Id { id_type, data: long(reader, "ID len", "ID Data")? }
            }
            payload::CERT => {
                let cert_type = reader.u8("Cert Type")?;
                Self::Cert { cert_type, data: long(reader, "Cert len", "Certificate")? }
            }
            payload::CHASH => {
                let (hash_func, hash) = sized(reader, hash_length, Kind::Hash, "Hash func", "Hash")?;
                Self::Chash { hash_func, hash }
            }
            payload::V => {
                let (auth_alg, mac) = sized(reader, mac_length, Kind::Mac, "Auth alg", "Ver data")?;
                Self::V { auth_alg, mac }
            }
            payload::SP => Self::Sp(Sp::read(reader, limits)?),
            payload::RAND => Self::Rand { rand: short(reader, "RAND length", "RAND")? },
            payload::ERR => Self::Err { error_no: reader.u8("Error no")?, reserved: reader.u16("Reserved")? },
            payload::TR => {
                let role = reader.u8("TS Role")?;
                Self::Tr { role, timestamp: Timestamp::read(reader)? }
            }
            payload::IDR => {
                let role = reader.u8("ID Role")?;
                let id_type = reader.u8("ID Type")?;
                Self::Idr { role, id_type, data: long(reader, "ID len", "ID Data")? }
            }
            payload::RANDR => {
                let role = reader.u8("RAND Role")?;
                Self::Randr { role, rand: short(reader, "RAND length", "RAND")? }
            }
            payload::TP => Self::Tp(Policy::read(reader, limits, "TP")?),
            payload::TICKET => Self::Ticket(Ticket::read(reader, limits)?),
            payload::KEY_DATA => Self::KeyData(KeyData::read(reader)?),
            _ => {
                let ext_type = reader.u8("Type")?;
                Self::Ext { ext_type, data: long(reader, "Length", "Data")? }
            }
        })
    }
}
