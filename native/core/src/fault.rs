//! What can be wrong with a peer's octets: the errors of `sipmikey.mikey.errors`, without Python.

use std::borrow::Cow;

/// Which error class of the Python core stands for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `LocalError`: this side asked for something the protocol cannot do.
    Local,
    /// `MalformedMessage`.
    Malformed,
    /// `LimitExceeded`.
    Limit,
    /// `UnsupportedDataType`.
    DataType,
    /// `UnexpectedMessage`.
    Unexpected,
    /// `AuthenticationFailure`.
    Authentication,
    /// `InvalidTimestamp`.
    Timestamp,
    /// `UnsupportedPrf`.
    Prf,
    /// `UnsupportedMac`.
    Mac,
    /// `UnsupportedEncryption`.
    Encryption,
    /// `UnsupportedHash`.
    Hash,
    /// `UnsupportedDhGroup`.
    DhGroup,
    /// `InvalidIdentity`.
    Identity,
    /// `InvalidSecurityPolicy`.
    SecurityPolicy,
    /// `InvalidTicket`.
    Ticket,
    /// `InvalidTicketPolicy`.
    TicketPolicy,
    /// `TicketNotValid`.
    NotValid,
    /// Python's `RecursionError`: nesting that only limits far from the default let through.
    Recursion,
}

/// A fault: what is wrong, in which field, at which octet, by which rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The error class.
    pub kind: Kind,
    /// What is wrong; never key material.
    pub detail: String,
    /// The field.
    pub field: Option<Cow<'static, str>>,
    /// First octet of the field in the message.
    pub offset: Option<usize>,
    /// The rule that was broken.
    pub section: Option<&'static str>,
}

/// A result whose fault is boxed, since faults are rare and results are many.
pub type Outcome<T> = Result<T, Box<Fault>>;

impl Fault {
    /// Make a fault that names no field.
    #[cold]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind, detail: detail.into(), field: None, offset: None, section: None })
    }

    /// Make a fault of a field.
    #[cold]
    pub fn of(kind: Kind, detail: impl Into<String>, field: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { kind, detail: detail.into(), field: Some(field.into()), offset: None, section: None })
    }

    /// Make a fault of a field at an octet.
    #[cold]
    pub fn at(
        kind: Kind,
        detail: impl Into<String>,
        field: impl Into<Cow<'static, str>>,
        offset: usize,
    ) -> Box<Self> {
        Box::new(Self {
            kind,
            detail: detail.into(),
            field: Some(field.into()),
            offset: Some(offset),
            section: None,
        })
    }

    /// Name the rule that was broken.
    #[must_use]
    pub fn by(mut self: Box<Self>, section: &'static str) -> Box<Self> {
        self.section = Some(section);
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(field) = &self.field {
            write!(out, "{field}: ")?;
        }
        out.write_str(&self.detail)?;
        if let Some(offset) = self.offset {
            write!(out, " (octet {offset})")?;
        }
        if let Some(section) = self.section {
            write!(out, " [{section}]")?;
        }
        Ok(())
    }
}
