//! A bounds-checked reader of octets that names the field it fails on: `sipmikey.mikey.cursor`.

use crate::fault::{Fault, Kind, Outcome};

/// Reads big-endian fields of `data[position..end]`; `base` is the offset of `data` in the message.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    position: usize,
    end: usize,
    base: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    /// Read all of `data`, which begins at octet `base` of the message.
    pub fn new(data: &'a [u8], base: usize) -> Self {
        Self { data, position: 0, end: data.len(), base, depth: 0 }
    }

    /// Offset of the next octet in the whole message.
    pub fn offset(&self) -> usize {
        self.base.saturating_add(self.position)
    }

    /// Position in the data.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Octets left.
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// How many readers this one was taken from.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    #[cold]
    fn short(&self, field: &'static str, needed: usize) -> Box<Fault> {
        let detail = format!("needs {needed} octets, {} left", self.remaining());
        Fault::at(Kind::Malformed, detail, field, self.offset())
    }

    /// Read one octet.
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Outcome<u8> {
        match self.take(1, field)? {
            [octet] => Ok(*octet),
            _ => Err(self.short(field, 1)),
        }
    }

    /// Read two octets.
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Outcome<u16> {
        match self.take(2, field)? {
            [high, low] => Ok(u16::from_be_bytes([*high, *low])),
            _ => Err(self.short(field, 2)),
        }
    }

    /// Read four octets.
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Outcome<u32> {
        match self.take(4, field)? {
            [a, b, c, d] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => Err(self.short(field, 4)),
        }
    }

    /// Read `count` octets.
    #[inline]
    pub fn take(&mut self, count: usize, field: &'static str) -> Outcome<&'a [u8]> {
        if count > self.remaining() {
            return Err(self.short(field, count));
        }
        let stop = self.position.saturating_add(count);
        match self.data.get(self.position..stop) {
            Some(octets) => {
                self.position = stop;
                Ok(octets)
            }
            None => Err(self.short(field, count)),
        }
    }

    /// Return a reader of the next `count` octets, and step over them.
    pub fn sub(&mut self, count: usize, field: &'static str) -> Outcome<Self> {
        let start = self.position;
        self.take(count, field)?;
        Ok(Self {
            data: self.data,
            position: start,
            end: self.position,
            base: self.base,
            depth: self.depth.saturating_add(1),
        })
    }

    /// Return the octets from `start` to the position.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.data.get(start..self.position).unwrap_or_default()
    }

    /// Fail unless every octet has been read.
    pub fn finish(&self, what: &'static str) -> Outcome<()> {
        if self.position == self.end {
            return Ok(());
        }
        let detail = format!("{} octets after the last payload", self.remaining());
        Err(Fault::at(Kind::Malformed, detail, what, self.offset()))
    }
}
