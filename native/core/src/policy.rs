//! Ticket Policy TP, TICKET and Ticket Data: `sipmikey.mikey.ticket`.

use crate::fault::{Fault, Kind, Outcome};
use crate::limits::Limits;
use crate::payload::{Chain, read_chain, unknown};
use crate::reader::Reader;
use crate::registry::is_prf;

/// Deepest nesting of TP Data read, whatever the limits: the stack is not endless.
const DEEPEST: u32 = 200;

/// What TP and TICKET share.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy<'a> {
    /// Ticket Type.
    pub ticket_type: u16,
    /// Subtype.
    pub subtype: u8,
    /// Version.
    pub version: u8,
    /// PRF Func, registered.
    pub prf: u8,
    /// Flags D to O, 12 bits in a combination that the RFC allows.
    pub flags: u16,
    /// 5 reserved bits.
    pub res: u8,
    /// Payloads of TP Data.
    pub payloads: Chain<'a>,
    /// The octets from Ticket Type to the end of TP Data.
    pub octets: &'a [u8],
}

/// TICKET payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket<'a> {
    /// The policy granted.
    pub policy: Policy<'a>,
    /// Ticket Data.
    pub ticket_data: &'a [u8],
    /// Initiator Data.
    pub initiator_data: &'a [u8],
}

const LETTERS: &str = "DEFGHIJKLMNO";

/// (rule, flags set, flags clear, flag then set)
const RULES: [(&str, u16, u16, u16); 6] = [
    ("NOT D implies L", 0, flag('D'), flag('L')),
    ("G implies F", flag('G'), 0, flag('F')),
    ("NOT G implies H", 0, flag('G'), flag('H')),
    ("I implies E", flag('I'), 0, flag('E')),
    ("K implies D", flag('K'), 0, flag('D')),
    ("M implies F", flag('M'), 0, flag('F')),
];

/// Return the bit of a flag by its letter, D to O.
pub const fn flag(letter: char) -> u16 {
    1 << (11 - (letter as u32 - 'D' as u32))
}

/// Return the letters of the flags that are set, in the order of the RFC.
pub fn letters(bits: u16) -> String {
    LETTERS.chars().filter(|letter| bits & flag(*letter) != 0).collect()
}

fn violations(bits: u16) -> Vec<&'static str> {
    RULES
        .iter()
        .filter(|(_, present, absent, implied)| {
            bits & present == *present && bits & absent == 0 && bits & implied == 0
        })
        .map(|(rule, ..)| *rule)
        .collect()
}

fn fields(what: &'static str) -> (&'static str, &'static str) {
    if what == "TP" { ("TP PRF Func", "TP flags") } else { ("TICKET PRF Func", "TICKET flags") }
}

impl<'a> Policy<'a> {
    /// Read a policy; `what` is TP or TICKET.
    pub fn read(reader: &mut Reader<'a>, limits: &Limits, what: &'static str) -> Outcome<Self> {
        let start = reader.position();
        let ticket_type = reader.u16("Ticket Type")?;
        let subtype = reader.u8("Subtype")?;
        let version = reader.u8("Version")?;
        let offset = reader.offset();
        let word = reader.take(3, "flags")?.iter().fold(0_u32, |word, octet| word << 8 | u32::from(*octet));
        let (prf_field, flags_field) = fields(what);
        let prf = (word >> 17) as u8;
        if !is_prf(prf) {
            return Err(unknown(Kind::Prf, prf, prf_field, offset));
        }
        let flags = (word >> 5 & 0xFFF) as u16;
        let broken = violations(flags);
        if !broken.is_empty() {
            let detail = format!("flags {}: {}", letters(flags), broken.join(", "));
            return Err(
                Fault::at(Kind::TicketPolicy, detail, flags_field, offset).by("RFC 6043 section 6.10")
            );
        }
        let length = usize::from(reader.u16("TP Data length")?);
        let mut tp_data = reader.sub(length, "TP Data")?;
        if i64::from(tp_data.depth()) > limits.nesting {
            let detail = format!("nested deeper than {}", limits.nesting);
            return Err(Fault::at(Kind::Limit, detail, "TP Data", tp_data.offset()));
        }
        if tp_data.depth() > DEEPEST {
            return Err(Fault::new(Kind::Recursion, "maximum recursion depth exceeded"));
        }
        let first = tp_data.u8("TP Data first payload")?;
        let payloads = read_chain(first, &mut tp_data, limits, "TP Data")?;
        Ok(Self {
            ticket_type,
            subtype,
            version,
            prf,
            flags,
            res: (word & 0x1F) as u8,
            payloads,
            octets: reader.since(start),
        })
    }
}

impl<'a> Ticket<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Outcome<Self> {
        let policy = Policy::read(reader, limits, "TICKET")?;
        let length = usize::from(reader.u16("Ticket Data length")?);
        let ticket_data = reader.take(length, "Ticket Data")?;
        let length = usize::from(reader.u16("Initiator Data length")?);
        let initiator_data = reader.take(length, "Initiator Data")?;
        Ok(Self { policy, ticket_data, initiator_data })
    }
}

/// Read Ticket Data of the MIKEY base ticket (RFC 6043 Appendix A): THDR Data and payloads.
pub fn read_ticket_data<'a>(data: &'a [u8], limits: &Limits, base: usize) -> Outcome<(&'a [u8], Chain<'a>)> {
    let mut reader = Reader::new(data, base);
    let first = reader.u8("THDR next payload")?;
    let length = usize::from(reader.u16("THDR Data length")?);
    let header = reader.take(length, "THDR Data")?;
    Ok((header, read_chain(first, &mut reader, limits, "Ticket Data")?))
}

/// Read Initiator Data; empty data is a fault.
pub fn read_initiator_data<'a>(data: &'a [u8], limits: &Limits, base: usize) -> Outcome<Chain<'a>> {
    if data.is_empty() {
        return Err(Fault::at(Kind::Malformed, "is empty", "Initiator Data", base));
    }
    let mut reader = Reader::new(data, base);
    let first = reader.u8("Initiator Data first payload")?;
    read_chain(first, &mut reader, limits, "Initiator Data")
}
