//! The native core of `sipmikey`: the same functions and classes as the Python core, made of Rust.
//!
//! `sipmikey.native` puts each in the place of the Python function of the same name.

mod classes;
mod decode;
mod encode;
mod environment;
mod exchange;
mod grant;
mod keys;
mod lanes;
mod media;
mod original;
mod policy;
mod raise;
mod secret;
mod slots;
mod ticket;
mod transfer;

use pyo3::prelude::*;

/// Changes whenever a function here and the Python function it stands for change what they take or give.
const INTERFACE: u32 = 4;

#[pymodule]
fn sipmikey_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("INTERFACE", INTERFACE)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<secret::Secret>()?;
    module.add_class::<secret::Prf>()?;
    module.add_class::<media::SrtpContext>()?;
    module.add_class::<lanes::Packetiser>()?;
    module.add_class::<lanes::ReceptionCount>()?;
    module.add_class::<lanes::FrameSource>()?;
    module.add_class::<lanes::Lanes>()?;
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
    module.add_function(wrap_pyfunction!(policy::read_policy, module)?)?;
    module.add_function(wrap_pyfunction!(ticket::make_session_keys, module)?)?;
    module.add_function(wrap_pyfunction!(ticket::seal_ticket, module)?)?;
    module.add_function(wrap_pyfunction!(ticket::open_ticket, module)?)?;
    module.add_function(wrap_pyfunction!(ticket::tpk_id, module)?)?;
    module.add_function(wrap_pyfunction!(ticket::check_initiator_data, module)?)?;
    module.add_function(wrap_pyfunction!(ticket::fork_keys, module)?)?;
    module.add_function(wrap_pyfunction!(ticket::mpk_data, module)?)?;
    module.add_function(wrap_pyfunction!(exchange::verify, module)?)?;
    module.add_function(wrap_pyfunction!(exchange::seal, module)?)?;
    module.add_function(wrap_pyfunction!(exchange::read_init, module)?)?;
    module.add_function(wrap_pyfunction!(exchange::build_response, module)?)?;
    module.add_function(wrap_pyfunction!(exchange::initial_message_keys, module)?)?;
    module.add_function(wrap_pyfunction!(exchange::response_message_keys, module)?)?;
    module.add_function(wrap_pyfunction!(grant::grant_ticket, module)?)?;
    module.add_function(wrap_pyfunction!(transfer::read_transfer_init, module)?)?;
    module.add_function(wrap_pyfunction!(transfer::verify_transfer_init, module)?)?;
    module.add_function(wrap_pyfunction!(transfer::build_transfer_init, module)?)?;
    Ok(())
}
