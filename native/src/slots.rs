//! Making objects of the package's frozen dataclasses without running their `__init__`.
//!
//! This file alone has `unsafe` code: two calls of CPython's stable ABI that PyO3 has no safe face for, and the
//! copying of a file descriptor that Python gave by number. The calls are what `object.__new__` and `object.__setattr__` do; a `Maker` is made only for classes whose
//! `__new__` is `object.__new__`, so allocating one is what Python itself would do.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd};

use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

/// Makes objects of one class with N slots.
pub struct Maker<const N: usize> {
    class: Py<PyType>,
    names: [Py<PyString>; N],
}

impl<const N: usize> Maker<N> {
    /// Look at a class; `names` are all its slots. Fails for a class that is made in another way.
    pub fn new(class: &Bound<'_, PyAny>, names: [&str; N]) -> PyResult<Self> {
        let py = class.py();
        let class = class.cast::<PyType>()?;
        let plain = py.get_type::<PyAny>().getattr("__new__")?;
        if !class.getattr("__new__")?.is(&plain) || class.getattr("__dictoffset__")?.extract::<isize>()? != 0
        {
            return Err(PyImportError::new_err(format!("{class} is not a plain class with slots")));
        }
        Ok(Self {
            class: class.clone().unbind(),
            names: names.map(|name| PyString::intern(py, name).unbind()),
        })
    }

    /// Return an object whose slots hold `values`.
    #[inline]
    pub fn make<'py>(&self, py: Python<'py>, values: [Bound<'py, PyAny>; N]) -> PyResult<Bound<'py, PyAny>> {
        let class = self.class.bind(py);
        // SAFETY: the class is alive, of fixed size, and allocated by `object.__new__` in the same way; the
        // result is a new reference or null with an exception set.
        let object =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(class.as_type_ptr(), 0)) }?;
        for (name, value) in self.names.iter().zip(values) {
            // SAFETY: three live objects; the slot's descriptor takes a reference of its own.
            let failed =
                unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) };
            if failed != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        Ok(object)
    }

    /// Tell whether an object is exactly of the class.
    #[inline]
    pub fn made(&self, object: &Bound<'_, PyAny>) -> bool {
        object.get_type_ptr() == self.class.bind(object.py()).as_type_ptr()
    }
}

/// Return a copy of an open file descriptor, which is closed when dropped.
pub fn descriptor(number: i32) -> PyResult<OwnedFd> {
    if number < 0 {
        return Err(PyValueError::new_err("no file descriptor"));
    }
    // SAFETY: not -1. The number is only used here, to be duplicated by the kernel, which refuses one that
    // is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(borrowed.try_clone_to_owned()?)
}
