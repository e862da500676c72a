//! The native core of `sipmikey`: the same functions and classes as the Python core, made of Rust.
//!
//! `sipmikey.native` puts each in the place of the Python function of the same name.

mod classes;
mod decode;
mod encode;
mod keys;
mod raise;
mod secret;
mod slots;

use pyo3::prelude::*;

/// Changes whenever a function here and the Python function it stands for change what they take or give.
const INTERFACE: u32 = 1;

#[pymodule]
fn sipmikey_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("INTERFACE", INTERFACE)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<secret::Secret>()?;
    module.add_class::<secret::Prf>()?;
    module.add_function(wrap_pyfunction!(decode::parse_message, module)?)?;
    module.add_function(wrap_pyfunction!(decode::decode_key_data, module)?)?;
    module.add_function(wrap_pyfunction!(decode::decode_ticket_data, module)?)?;
    module.add_function(wrap_pyfunction!(decode::decode_initiator_data, module)?)?;
    module.add_function(wrap_pyfunction!(encode::build_message, module)?)?;
    module.add_function(wrap_pyfunction!(encode::encode_key_data, module)?)?;
    module.add_function(wrap_pyfunction!(keys::compute_mac, module)?)?;
    module.add_function(wrap_pyfunction!(keys::verify_mac, module)?)?;
    module.add_function(wrap_pyfunction!(keys::seal_keys, module)?)?;
    module.add_function(wrap_pyfunction!(keys::open_keys, module)?)?;
    Ok(())
}
