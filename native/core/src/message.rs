//! A MIKEY message: HDR and a chain of payloads: `sipmikey.mikey.message`.

use crate::fault::{Fault, Kind, Outcome};
use crate::header::Header;
use crate::limits::Limits;
use crate::payload::{Chain, read_chain};
use crate::reader::Reader;

/// A message that was parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// HDR.
    pub header: Header<'a>,
    /// Payloads with their offsets.
    pub payloads: Chain<'a>,
}

impl<'a> Message<'a> {
    /// Read a whole message.
    pub fn read(data: &'a [u8], limits: &Limits) -> Outcome<Self> {
        if data.len() as i64 > limits.message_bytes {
            let detail = format!("{} octets, at most {}", data.len(), limits.message_bytes);
            return Err(Fault::of(Kind::Limit, detail, "message"));
        }
        let mut reader = Reader::new(data, 0);
        let (header, first) = Header::read(&mut reader, limits)?;
        let payloads = read_chain(first, &mut reader, limits, "message")?;
        Ok(Self { header, payloads })
    }
}
