//! Faults of the core as exceptions of `sipmikey.mikey.errors`.

use pyo3::exceptions::PyRecursionError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sipmikey_core::fault::{Fault, Kind};

fn place(kind: Kind) -> (&'static str, &'static str) {
    let errors = "sipmikey.mikey.errors";
    match kind {
        Kind::Local => (errors, "LocalError"),
        Kind::Malformed => (errors, "MalformedMessage"),
        Kind::Limit => (errors, "LimitExceeded"),
        Kind::DataType => (errors, "UnsupportedDataType"),
        Kind::Unexpected => (errors, "UnexpectedMessage"),
        Kind::Authentication => (errors, "AuthenticationFailure"),
        Kind::Timestamp => (errors, "InvalidTimestamp"),
        Kind::Prf => (errors, "UnsupportedPrf"),
        Kind::Mac => (errors, "UnsupportedMac"),
        Kind::Encryption => (errors, "UnsupportedEncryption"),
        Kind::Hash => (errors, "UnsupportedHash"),
        Kind::DhGroup => ("sipmikey.mikey.dh", "UnsupportedDhGroup"),
        Kind::Identity => (errors, "InvalidIdentity"),
        Kind::SecurityPolicy => (errors, "InvalidSecurityPolicy"),
        Kind::Ticket => (errors, "InvalidTicket"),
        Kind::TicketPolicy => (errors, "InvalidTicketPolicy"),
        Kind::NotValid => (errors, "TicketNotValid"),
        Kind::Recursion => ("builtins", "RecursionError"),
    }
}

/// Return the exception that stands for a fault.
#[cold]
pub fn raise(py: Python<'_>, fault: &Fault) -> PyErr {
    exception(py, fault).unwrap_or_else(|error| error)
}

fn exception(py: Python<'_>, fault: &Fault) -> PyResult<PyErr> {
    if fault.kind == Kind::Recursion {
        return Ok(PyRecursionError::new_err(fault.detail.clone()));
    }
    let (module, name) = place(fault.kind);
    let class = py.import(module)?.getattr(name)?;
    if fault.kind == Kind::Local {
        return Ok(PyErr::from_value(class.call1((&fault.detail,))?));
    }
    let words = PyDict::new(py);
    words.set_item("field", fault.field.as_deref())?;
    words.set_item("offset", fault.offset)?;
    words.set_item("section", fault.section)?;
    Ok(PyErr::from_value(class.call((&fault.detail,), Some(&words))?))
}

/// What a core function gave, or its fault raised.
pub trait OrRaise<T> {
    /// Return the value; turn a fault into an exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Box<Fault>> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|fault| raise(py, &fault))
    }
}
