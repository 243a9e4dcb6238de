//! Public keys in PEM files, as the crypto library takes them.

use jsonwebtoken::DecodingKey;
use ring::{
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    rand::SystemRandom,
};

use weir_config::Algorithm;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// The version in front of a certificate's fields.
const VERSION: u8 = 0xa0;

/// What a key is for, in DER: algorithm identifiers of RFC 3279 and RFC 8410.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// RFC 7518 section 3.3 wants 2048 bits at least; the crypto library takes no more than 8192.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The key of `algorithm` in `pem`: a public key (RFC 5280), an RSA public key (RFC 8017) or a certificate. None if
/// there is no such key, or one that no signature is good for.
pub fn public_key(pem: &[u8], algorithm: Algorithm) -> Option<DecodingKey> {
    let pem = pem::parse(pem).ok()?;
    let der = pem.contents();
    let key = match (pem.tag(), algorithm) {
        ("PUBLIC KEY", _) => of_info(der, algorithm)?,
        ("CERTIFICATE", _) => of_info(info(der)?, algorithm)?,
        ("RSA PUBLIC KEY", Algorithm::Rs256) => der,
        _ => return None,
    };
    match algorithm {
        Algorithm::Rs256 => is_rsa(key).then(|| DecodingKey::from_rsa_der(key)),
        Algorithm::Es256 => is_p256(key).then(|| DecodingKey::from_ec_der(key)),
        Algorithm::EdDsa => (key.len() == 32).then(|| DecodingKey::from_ed_der(key)),
        Algorithm::Hs256 => None,
    }
}

/// The key in a `SubjectPublicKeyInfo`, if it is for `algorithm`.
fn of_info(der: &[u8], algorithm: Algorithm) -> Option<&[u8]> {
    let (info, _) = take(SEQUENCE, der)?;
    let (identifier, rest) = take(SEQUENCE, info)?;
    let (bits, _) = take(BIT_STRING, rest)?;
    let wanted = match algorithm {
        Algorithm::Rs256 => RSA,
        Algorithm::Es256 => P256,
        Algorithm::EdDsa => ED25519,
        Algorithm::Hs256 => return None,
    };
    // A key is whole bytes: no bit of the last one is unused.
    bits.strip_prefix(&[0]).filter(|_| identifier == wanted)
}

/// The `SubjectPublicKeyInfo` of a certificate, and what follows it. Who signed the certificate, and until when it is
/// good, is not looked at: it is the operator's own file.
fn info(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = take(SEQUENCE, der)?;
    let (mut fields, _) = take(SEQUENCE, certificate)?;
    if let Some((_, rest)) = take(VERSION, fields) {
        fields = rest;
    }
    // Serial number, algorithm of the signature, issuer, validity, subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        (_, fields) = take(tag, fields)?;
    }
    Some(fields)
}

/// Whether this is a modulus and an exponent that a signature can be good for.
fn is_rsa(key: &[u8]) -> bool {
    let numbers = || {
        let (numbers, _) = take(SEQUENCE, key)?;
        let (modulus, rest) = take(INTEGER, numbers)?;
        let (exponent, _) = take(INTEGER, rest)?;
        Some((positive(modulus)?, positive(exponent)?))
    };
    numbers().is_some_and(|(modulus, exponent)| {
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        let is_whole = modulus[0] >= 0x80 || modulus.len() > *RSA_BYTES.start();
        let is_long = RSA_BYTES.contains(&modulus.len()) && is_whole;
        is_long && is_odd(modulus) && is_odd(exponent) && exponent != [1] && exponent.len() <= 4
    })
}

/// The bytes of a number above zero, without the one in front that says that it is.
fn positive(number: &[u8]) -> Option<&[u8]> {
    match number {
        [0, rest @ ..] => Some(rest).filter(|rest| rest.first().is_some_and(|byte| *byte != 0)),
        [0x00..=0x7f, ..] => Some(number),
        _ => None,
    }
}

/// Whether this is a point on the curve. What verifies says only whether a signature is good; agreeing on a key with
/// the point does look at it.
fn is_p256(point: &[u8]) -> bool {
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
    let theirs = UnparsedPublicKey::new(&ECDH_P256, point);
    ours.and_then(|ours| agree_ephemeral(ours, &theirs, |_| ())).is_ok()
}

/// The contents of the element of kind `tag` that `der` begins with, and what comes behind it.
fn take(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[is, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // A file has 64 KiB at most.
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| is == tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_have_all_their_bytes() {
        assert_eq!(take(INTEGER, &[2, 1, 7, 9]), Some((&[7][..], &[9][..])));
        let long = [&[0x30, 0x81, 0x80][..], &[5; 0x80]].concat();
        assert_eq!(take(SEQUENCE, &long).map(|(inside, _)| inside.len()), Some(0x80));
        for bad in [&[][..], &[2], &[2, 1], &[2, 0x81], &[2, 0x82, 1], &[2, 0x80, 0, 0], &[3, 0]] {
            assert_eq!(take(INTEGER, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_above_zero_and_written_in_one_way() {
        assert_eq!(positive(&[0, 0x80]), Some(&[0x80][..]));
        assert_eq!(positive(&[3]), Some(&[3][..]));
        for bad in [&[][..], &[0], &[0, 0], &[0x80]] {
            assert_eq!(positive(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(der: Vec<u8>) {
            for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
                for label in ["PUBLIC KEY", "CERTIFICATE", "RSA PUBLIC KEY"] {
                    let pem = pem::encode(&pem::Pem::new(label, der.clone()));
                    let _ = public_key(pem.as_bytes(), algorithm);
                }
            }
        }
    }
}
