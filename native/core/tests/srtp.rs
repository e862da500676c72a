//! SRTP: the vectors of RFC 3711 appendix B, RFC 6188 section 7 and RFC 7714 section 16, and what must hold.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use sipmikey_core::srtp::{Context, Profile, Refusal};

const CM_80: Profile = Profile { aead: false, key_length: 16, tag_length: 10, rtcp_tag_length: 10 };
const GCM: Profile = Profile { aead: true, key_length: 16, tag_length: 16, rtcp_tag_length: 16 };

fn octets(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn packet(seq: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn pair(profile: Profile, mki: &[u8], after: Option<u64>) -> (Context, Context) {
    let (key, salt) = ([7; 32], [9; 14]);
    let salt = &salt[..if profile.aead { 12 } else { 14 }];
    let make = || Context::new(profile, &key[..profile.key_length], salt, 5, mki, after).unwrap();
    (make(), make())
}

fn profiles() -> Vec<Profile> {
    let mut all = vec![GCM, Profile { key_length: 32, ..GCM }];
    for key_length in [16, 24, 32] {
        for tag_length in [10, 4] {
            all.push(Profile { key_length, tag_length, ..CM_80 });
        }
    }
    all
}

/// The session keys of RFC 3711 appendix B.3 and RFC 6188 sections 7.2 to 7.4 show in the keystream and the tag.
#[test]
fn session_keys_of_the_vectors() {
    use sipmikey_core::srtp::session_keys;
    let cases = [
        (
            "E1F97A0D3E018BE0D64FA32C06DE4139",
            "0EC675AD498AFEEBB6960B3AABE6",
            "C61E7A93744F39EE10734AFE3FF7A087",
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
            "30CBBC08863D8C85D49DB34A9AE1",
        ),
        (
            "73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1",
            "c8522f3acd4ce86d5add78edbb11",
            "31874736a8f1143870c26e4857d8a5b2c4a354407faadabb",
            "355b10973cd95b9eacf4061c7e1a7151e7cfbfcb",
            "2372b82d639b6d8503a47adc0a6c",
        ),
        (
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
            "3b04803de51ee7c96423ab5b78d2",
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
            "fa31791685ca444a9e07c6c64e93",
        ),
    ];
    for (key, salt, encryption, authentication, session_salt) in cases {
        let found = session_keys(&octets(key), &octets(salt), false).unwrap();
        assert_eq!(*found.encryption, octets(encryption));
        assert_eq!(*found.authentication, octets(authentication));
        assert_eq!(*found.salt, octets(session_salt));
    }
}

#[test]
fn what_is_protected_comes_back() {
    for profile in profiles() {
        for mki in [&b""[..], b"mki1"] {
            let (mut sender, mut receiver) = pair(profile, mki, None);
            for seq in 1..300 {
                let plain = packet(seq, 5, &[seq as u8; 160]);
                let sent = sender.protect(&plain).unwrap();
                assert_eq!(sent.len(), plain.len() + profile.tag_length + mki.len());
                assert_ne!(sent[12..172], plain[12..]);
                assert_eq!(receiver.unprotect(&sent).unwrap(), plain);
                assert_eq!(receiver.unprotect(&sent), Err(Refusal::Replayed));
                assert_eq!(sender.protect(&plain), Err(Refusal::Replayed));
            }
        }
    }
}

#[test]
fn every_changed_octet_is_noticed() {
    for profile in profiles() {
        let (mut sender, mut receiver) = pair(profile, b"", None);
        let sent = sender.protect(&packet(1, 5, &[1; 20])).unwrap();
        for at in 0..sent.len() {
            let mut changed = sent.clone();
            changed[at] ^= 1;
            assert!(receiver.unprotect(&changed).is_err(), "octet {at}");
            assert!(receiver.unprotect(&sent[..at]).is_err());
        }
        assert!(receiver.unprotect(&sent).is_ok());
    }
}

#[test]
fn the_rollover_counter_goes_on_over_65535() {
    for profile in profiles() {
        let (mut sender, mut receiver) = pair(profile, b"", Some(0x0002_FFFD));
        let sent: Vec<_> = [0xFFFE, 0xFFFF, 0, 1]
            .iter()
            .map(|seq| sender.protect(&packet(*seq, 5, b"x")).unwrap())
            .collect();
        for order in [0, 2, 1, 3] {
            assert!(receiver.unprotect(&sent[order]).is_ok());
        }
        let (mut behind, _) = pair(profile, b"", None);
        assert_eq!(behind.unprotect(&sent[0]), Err(Refusal::Authentication));
    }
}

#[test]
fn old_packets_and_other_sources_are_told_apart() {
    let (mut sender, mut receiver) = pair(CM_80, b"mki1", None);
    let first = sender.protect(&packet(1, 5, b"x")).unwrap();
    let later = sender.protect(&packet(1025, 5, b"x")).unwrap();
    assert!(receiver.unprotect(&later).is_ok());
    assert_eq!(receiver.unprotect(&first), Err(Refusal::TooOld));
    assert_eq!(sender.protect(&packet(2000, 6, b"x")), Err(Refusal::OtherSsrc));
    let (mut other, _) = pair(CM_80, b"mki2", None);
    let foreign = other.protect(&packet(2000, 5, b"x")).unwrap();
    assert_eq!(receiver.unprotect(&foreign), Err(Refusal::MkiUnknown));
    assert_eq!(receiver.unprotect(&[0x80; 20]), Err(Refusal::TooShort));
    let mut long = packet(3000, 5, &[0; 30]);
    long[0] = 0x9F;
    assert_eq!(sender.protect(&long), Err(Refusal::Malformed));
}

#[test]
fn rtcp_comes_back_once() {
    let report = octets("80c90001 00000005");
    for profile in profiles() {
        for mki in [&b""[..], b"m"] {
            let (mut sender, mut receiver) = pair(profile, mki, None);
            let sent: Vec<_> = (0..200).map(|_| sender.protect_rtcp(&report).unwrap()).collect();
            assert_eq!(receiver.unprotect_rtcp(&sent[0]).unwrap(), report);
            assert_eq!(receiver.unprotect_rtcp(&sent[0]), Err(Refusal::Replayed));
            assert_eq!(receiver.unprotect_rtcp(&sent[199]).unwrap(), report);
            assert_eq!(receiver.unprotect_rtcp(&sent[1]), Err(Refusal::TooOld));
            assert_eq!(receiver.unprotect_rtcp(&sent[150]).unwrap(), report);
            let mut changed = sent[180].clone();
            changed[9] ^= 1;
            assert!(receiver.unprotect_rtcp(&changed).is_err());
        }
    }
}

/// RFC 7714 section 16.1.1: session key and salt are given there, so they are put in without derivation.
#[test]
fn aead_aes_128_gcm_of_rfc_7714() {
    let (key, salt) = (octets("000102030405060708090a0b0c0d0e0f"), octets("517569642070726f2071756f"));
    let plain = octets(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120
         696e2070 61727465 73207472 6573",
    );
    let expected = octets(
        "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
         42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
    );
    let mut sender = Context::with_session_keys(GCM, &key, &salt, 0x5501_a0b2).unwrap();
    let mut receiver = Context::with_session_keys(GCM, &key, &salt, 0x5501_a0b2).unwrap();
    assert_eq!(sender.protect(&plain).unwrap(), expected);
    assert_eq!(receiver.unprotect(&expected).unwrap(), plain);
}
