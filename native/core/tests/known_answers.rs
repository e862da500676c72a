//! Known answers of the algorithms, and what must hold of any octets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use sipmikey_core::cipher::{unwrap, wrap};
use sipmikey_core::fault::Kind;
use sipmikey_core::limits::Limits;
use sipmikey_core::mac::{compute_mac, verify_mac};
use sipmikey_core::message::Message;
use sipmikey_core::prf::{Keyed, Prf};

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn hmac_sha_1_of_rfc_2202() {
    let mac = Keyed::sha1(b"Jefe").unwrap().run(&[b"what do ya want ", b"for nothing?"]);
    assert_eq!(mac[..20], octets("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
}

#[test]
fn hmac_sha_256_of_rfc_4231() {
    let mac = Keyed::sha256(b"Jefe").unwrap().run(&[b"what do ya want for nothing?"]);
    assert_eq!(mac[..], octets("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
}

#[test]
fn key_wrap_of_rfc_3394() {
    let key = octets("000102030405060708090A0B0C0D0E0F");
    let plaintext = octets("00112233445566778899AABBCCDDEEFF");
    let wrapped = wrap(&key, &[0xA6; 8], &plaintext).unwrap();
    assert_eq!(*wrapped, octets("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"));
    assert_eq!(*unwrap(&key, &[0xA6; 8], &wrapped, "x").unwrap(), plaintext);
    let fault = unwrap(&key, &[0xA7; 8], &wrapped, "x").unwrap_err();
    assert_eq!((fault.kind, fault.detail.as_str()), (Kind::Malformed, "the key wrap does not verify"));
}

#[test]
fn a_long_outkey_begins_with_the_short_one_and_surplus_bits_are_zero() {
    for func in [0, 1] {
        let prf = Prf::new(func, &[7; 40]).unwrap();
        let long = prf.derive(&[b"label"], 1000).unwrap();
        let short = prf.derive(&[b"la", b"bel"], 300).unwrap();
        assert_eq!(short[..37], long[..37]);
        assert_eq!(short[37], long[37] & 0xF0);
    }
    assert!(Prf::new(1, &[]).is_err());
}

#[test]
fn a_changed_mac_does_not_verify() {
    let (mac, length) = compute_mac(2, &[1; 32], &[b"covered"]).unwrap();
    let mut mac = mac[..length].to_vec();
    assert!(verify_mac(2, &[1; 32], &[b"covered"], &mac, || "V".into()).is_ok());
    mac[31] ^= 1;
    assert!(verify_mac(2, &[1; 32], &[b"covered"], &mac, || "V".into()).is_err());
    assert!(compute_mac(0, &[1; 32], &[]).is_err());
}

#[test]
fn every_truncation_is_a_fault_that_names_its_place() {
    let whole = octets("010e0500000000010001050a00e9c7b3f912345678");
    assert!(Message::read(&whole[..10], &Limits::default()).is_err());
    for length in 0..whole.len() {
        let fault = Message::read(&whole[..length], &Limits::default()).unwrap_err();
        assert!(fault.offset.unwrap() <= length, "{fault}");
    }
}
