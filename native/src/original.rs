//! The way back to Python.
//!
//! What follows the codec is native for messages that are as they should be. Where one is not, the Python
//! function decides what is wrong with it, and so says the same as ever.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A result, or none where the Python function must decide.
pub type Perhaps<T> = PyResult<Option<T>>;

/// Return what a native function gave, or else what the Python function of the name gives.
///
/// A native function that errs has met something Python has to judge as well: it has no effects before it can
/// no longer fail.
pub fn or_original<'py, T: Into<Bound<'py, PyAny>>>(
    py: Python<'py>,
    name: &str,
    arguments: impl FnOnce() -> PyResult<Bound<'py, PyTuple>>,
    found: Perhaps<T>,
) -> PyResult<Bound<'py, PyAny>> {
    match found {
        Ok(Some(result)) => Ok(result.into()),
        _ => py.import("sipmikey.native")?.getattr("REPLACED")?.get_item(name)?.call1(arguments()?),
    }
}

/// Leave a function with none unless a condition holds.
macro_rules! require {
    ($condition:expr) => {
        if !$condition {
            return Ok(None);
        }
    };
}

/// Take a value, or leave a function with none.
macro_rules! take {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

/// Take what the core gave; leave a function with none at a fault.
macro_rules! fine {
    ($outcome:expr) => {
        match $outcome {
            Ok(value) => value,
            Err(_) => return Ok(None),
        }
    };
}

pub(crate) use {fine, require, take};
