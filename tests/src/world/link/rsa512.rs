//! An RSA key of 512 bits, as nobody may use any more: an authority below a good one whose signatures are right in every
//! way but that anybody could have made them. The key is worth nothing and is written down here for that.

use rcgen::{Error, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// A number of 512 bits, its lowest 32 first.
type Wide = [u32; 16];

const MODULUS: &str = "c32e251817ee3d20057cb27aef363092a98996d44e9ec552fe3a1dc5e63670ee329f2251db99d38dc55e52fc70f5a3d4bd489e1959dfc5ff67e9c0f08575dfdf";
const SECRET: &str = "2fdb2fa331b2eb6fdf888ca691e2a29443578610f659fd9df4d1c11d15ee414fe8a12a739c26308af430ab34ccc03733f5bf932aee8e02a2cf3a5b077a9ccdd1";
/// What stands before a SHA-256 in a PKCS #1 signature.
const DIGEST_INFO: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];

/// The key.
pub(super) struct Rsa512 {
    /// The public half as PKCS #1 writes it.
    public: Vec<u8>,
}

impl Rsa512 {
    pub(super) fn new() -> Self {
        let mut public = vec![0x30, 0x48, 0x02, 0x41, 0];
        public.extend(bytes_of(&read(MODULUS)));
        public.extend([0x02, 0x03, 1, 0, 1]);
        Self { public }
    }
}

impl PublicKeyData for Rsa512 {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Rsa512 {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let padded = padded(message).ok_or(Error::RingUnspecified)?;
        Ok(bytes_of(&power(&wide_of(&padded), &read(SECRET))).to_vec())
    }
}

/// What is signed of a message.
fn padded(message: &[u8]) -> Option<[u8; 64]> {
    let digest = TLS13_AES_128_GCM_SHA256.tls13()?.common.hash_provider.hash(message);
    let mut block = [0xff; 64];
    block[..2].copy_from_slice(&[0, 1]);
    block[12] = 0;
    block[13..32].copy_from_slice(&DIGEST_INFO);
    block[32..].copy_from_slice(digest.as_ref());
    Some(block)
}

fn read(text: &str) -> Wide {
    let mut found = [0; 16];
    for (at, limb) in found.iter_mut().rev().enumerate() {
        *limb = u32::from_str_radix(&text[at * 8..at * 8 + 8], 16).unwrap_or(0);
    }
    found
}

fn wide_of(bytes: &[u8; 64]) -> Wide {
    let mut found = [0; 16];
    for (limb, four) in found.iter_mut().rev().zip(bytes.chunks_exact(4)) {
        *limb = four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    }
    found
}

fn bytes_of(wide: &Wide) -> [u8; 64] {
    let mut found = [0; 64];
    for (limb, four) in wide.iter().rev().zip(found.chunks_exact_mut(4)) {
        four.copy_from_slice(&limb.to_be_bytes());
    }
    found
}

/// Takes `other` away, and says whether it was the greater.
fn less(from: &mut Wide, other: &Wide) -> bool {
    let mut borrow = false;
    for (limb, taken) in from.iter_mut().zip(other) {
        let (once, under) = limb.overflowing_sub(*taken);
        let (twice, under_again) = once.overflowing_sub(u32::from(borrow));
        (*limb, borrow) = (twice, under || under_again);
    }
    borrow
}

/// The sum of two numbers below the modulus, below the modulus.
fn sum(one: &Wide, other: &Wide) -> Wide {
    let mut found = [0; 16];
    let mut carry = 0;
    for ((limb, a), b) in found.iter_mut().zip(one).zip(other) {
        let wide = u64::from(*a) + u64::from(*b) + carry;
        (*limb, carry) = (wide as u32, wide >> 32);
    }
    let mut reduced = found;
    if !less(&mut reduced, &read(MODULUS)) || carry > 0 { reduced } else { found }
}

fn product(one: &Wide, other: &Wide) -> Wide {
    let mut found = [0; 16];
    for at in (0..512).rev() {
        found = sum(&found, &found);
        if other[at / 32] >> (at % 32) & 1 == 1 {
            found = sum(&found, one);
        }
    }
    found
}

fn power(base: &Wide, exponent: &Wide) -> Wide {
    let mut found = [0; 16];
    found[0] = 1;
    for at in (0..512).rev() {
        found = product(&found, &found);
        if exponent[at / 32] >> (at % 32) & 1 == 1 {
            found = product(&found, base);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_signatures_are_right() {
        let signature = Rsa512::new().sign(b"a certificate").unwrap();
        let mut public = [0; 16];
        public[0] = 65_537;
        let opened = power(&wide_of(signature.as_slice().try_into().unwrap()), &public);
        assert_eq!(bytes_of(&opened), padded(b"a certificate").unwrap());
    }
}
