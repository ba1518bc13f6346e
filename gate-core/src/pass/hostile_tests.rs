//! The attack list of the security specification, A-01 to A-29, one row each: what a reader says of hostile texts.
//!
//! Forgeries are built byte by byte and, unless the row is about the signature, properly signed by the vendor's key: so
//! a refusal is one of the shape, not of the signature that happens not to fit.

use std::fmt::Write as _;

use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};

use super::*;
use crate::cose::Envelope;
use crate::examples::*;
use crate::ids::Kid;
use crate::keys::PublicKey;

const ENVELOPE: Defect = Defect::Malformed(MalformedWhy::Envelope);
const CLAIMS: Defect = Defect::Malformed(MalformedWhy::Claims);
const BASE45: Defect = Defect::Malformed(MalformedWhy::Base45);
const TOO_LONG: Defect = Defect::Malformed(MalformedWhy::TooLong);

/// A CBOR head: major type and argument in the shortest form.
fn head(major: u8, n: usize) -> Vec<u8> {
    match n {
        0..24 => vec![major << 5 | n as u8],
        24..256 => vec![major << 5 | 24, n as u8],
        _ => vec![major << 5 | 25, (n >> 8) as u8, n as u8],
    }
}

fn byte_string(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

fn protected() -> Vec<u8> {
    [vec![0xa2, 0x01, 0x32, 0x04, 0x44], KID.0.to_vec()].concat()
}

/// A token whose every part can be wrong.
#[derive(Clone)]
struct Forgery {
    before: Vec<u8>,
    protected: Vec<u8>,
    unprotected: Vec<u8>,
    payload: Vec<u8>,
    aad: &'static [u8],
    key: SigningKey,
    /// In place of the proper one.
    signature: Option<Vec<u8>>,
    /// In place of the payload as a byte string.
    payload_item: Option<Vec<u8>>,
    after: Vec<u8>,
}

fn forgery() -> Forgery {
    Forgery {
        before: vec![0x84],
        protected: protected(),
        unprotected: vec![0xa0],
        payload: claims().encode(),
        aad: b"gatepass/1",
        key: signing_key(),
        signature: None,
        payload_item: None,
        after: vec![],
    }
}

impl Forgery {
    fn signature(&self) -> Vec<u8> {
        let message = [
            vec![0x84, 0x6a],
            b"Signature1".to_vec(),
            byte_string(&self.protected),
            byte_string(self.aad),
            byte_string(&self.payload),
        ]
        .concat();
        self.key.sign(&message).to_bytes().to_vec()
    }

    fn bytes(&self) -> Vec<u8> {
        [
            self.before.clone(),
            byte_string(&self.protected),
            self.unprotected.clone(),
            self.payload_item.clone().unwrap_or_else(|| byte_string(&self.payload)),
            byte_string(&self.signature.clone().unwrap_or_else(|| self.signature())),
            self.after.clone(),
        ]
        .concat()
    }

    fn text(&self) -> String {
        format!("GP1:{}", base45::encode(self.bytes()))
    }
}

fn check(rows: &[(&str, String, Defect)]) {
    let keys = keyring();
    for (name, text, expected) in rows {
        assert_eq!(open(text, &keys).finding, Finding::Defective(*expected), "{name}");
    }
}

fn envelope(name: &'static str, change: impl FnOnce(&mut Forgery)) -> (&'static str, String, Defect) {
    let mut forged = forgery();
    change(&mut forged);
    (name, forged.text(), ENVELOPE)
}

/// A properly signed token with this payload.
fn payload(name: &'static str, payload: Vec<u8>) -> (&'static str, String, Defect) {
    (name, Forgery { payload, ..forgery() }.text(), CLAIMS)
}

#[test]
fn the_forger_can_make_a_good_pass() {
    assert_eq!(forgery().text(), pass_text());
}

#[test]
fn a_01_to_06_texts() {
    let good = pass_text();
    let after_prefix = &good[4..];
    check(&[
        ("A-01 empty", String::new(), Defect::NotAPass),
        ("A-01 one byte", "G".into(), Defect::NotAPass),
        ("A-01 prefix without colon", "GP1".into(), Defect::NotAPass),
        ("A-01 only the prefix", "GP1:".into(), ENVELOPE),
        ("A-02 400 characters are looked at", format!("GP1:{}", "0".repeat(396)), ENVELOPE),
        ("A-02 401 characters", format!("GP1:{}", "0".repeat(397)), TOO_LONG),
        ("A-02 a whole version 40 code", format!("GP1:{}", "0".repeat(4292)), TOO_LONG),
        ("A-02 7,089 digits", "7".repeat(7089), Defect::NotAPass),
        ("A-03 other prefix", format!("XP1:{after_prefix}"), Defect::NotAPass),
        ("A-03 lower case", format!("gp1:{after_prefix}"), Defect::NotAPass),
        ("A-03 all lower case", good.to_lowercase(), Defect::NotAPass),
        ("A-03 a space before", format!(" {good}"), Defect::NotAPass),
        ("A-03 gp2", "gp2:00".into(), Defect::NotAPass),
        ("A-03 web address", "https://example.org/?GP1:00".into(), Defect::NotAPass),
        ("A-03 Wi-Fi", "WIFI:T:WPA;S:net;P:secret;;".into(), Defect::NotAPass),
        ("A-03 vCard", "BEGIN:VCARD\nFN:A\nEND:VCARD".into(), Defect::NotAPass),
        ("A-03 boarding pass", "M1DOE/JOHN            EABC123 OTPLHR".into(), Defect::NotAPass),
        ("D05 version 2", format!("GP2:{after_prefix}"), Defect::Unsupported),
        ("D05 version 99", "GP99:".into(), Defect::Unsupported),
        ("D05 version 01 is not version 1", format!("GP01:{after_prefix}"), Defect::Unsupported),
        ("D05 no number", "GP:00".into(), Defect::NotAPass),
        ("D05 not a number", "GPX:00".into(), Defect::NotAPass),
        ("A-04 illegal character", format!("GP1:!{}", &after_prefix[1..]), BASE45),
        ("A-04 lower case body", format!("GP1:{}", after_prefix.to_lowercase()), BASE45),
        ("A-04 odd tail", "GP1:0000".into(), BASE45),
        ("A-04 a group above 65535", "GP1::::".into(), BASE45),
        ("A-04 a last group above 255", "GP1:::".into(), BASE45),
        ("A-05 a space after", format!("{good} "), BASE45),
        ("A-05 a line end after", format!("{good}\n"), BASE45),
        ("A-05 a carriage return after", format!("{good}\r\n"), BASE45),
        ("A-05 NUL after", format!("{good}\0"), BASE45),
        ("A-05 a second code after", format!("{good}{good}"), BASE45),
        (
            "A-05 a second code's bytes after",
            {
                let bytes = [forgery().bytes(), forgery().bytes()].concat();
                format!("GP1:{}", base45::encode(bytes))
            },
            ENVELOPE,
        ),
        ("A-06 NUL inside", format!("GP1:\0{}", &after_prefix[1..]), BASE45),
        ("A-06 right-to-left override", format!("GP1:\u{202e}{after_prefix}"), BASE45),
        ("A-06 emoji", format!("GP1:{after_prefix}\u{1f600}"), BASE45),
        ("A-06 replacement character", format!("GP1:\u{fffd}{after_prefix}"), BASE45),
    ]);
}

#[test]
fn a_07_to_09_cbor_bombs() {
    let text = |bytes: &[u8]| format!("GP1:{}", base45::encode(bytes));
    let huge_array = vec![0x9a, 0xff, 0xff, 0xff, 0xff];
    let huge_bytes = vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let mut rows = vec![
        ("A-07 as deep as a text can be", text(&[0x81; 264]), ENVELOPE),
        ("A-07 deep maps", text(&[0xa1; 264]), ENVELOPE),
        ("A-07 deep tags", text(&[0xc1; 264]), ENVELOPE),
        ("A-08 an array of 2^32-1", text(&huge_array), ENVELOPE),
        ("A-08 a byte string of 2^63-1", text(&huge_bytes), ENVELOPE),
        payload("A-07 in the payload", vec![0x81; 120]),
        payload("A-08 an array in the payload", huge_array.clone()),
        payload("A-08 a byte string in the payload", huge_bytes.clone()),
        payload("A-08 a map of 2^32-1", vec![0xba, 0xff, 0xff, 0xff, 0xff, 0x01]),
        envelope("A-08 as the payload", |f| f.payload_item = Some(huge_bytes.clone())),
        envelope("A-08 as the unprotected header", |f| f.unprotected = huge_array.clone()),
        envelope("A-09 indefinite array", |f| {
            f.before = vec![0x9f];
            f.after = vec![0xff];
        }),
        envelope("A-09 indefinite payload", |f| {
            let pieces = [vec![0x5f], byte_string(&f.payload), vec![0xff]].concat();
            f.payload_item = Some(pieces);
        }),
        envelope("A-09 indefinite unprotected header", |f| f.unprotected = vec![0xbf, 0xff]),
        envelope("A-09 indefinite protected header", |f| {
            f.protected = [vec![0xbf], f.protected[1..].to_vec(), vec![0xff]].concat();
        }),
    ];
    let indefinite = [vec![0xbf], claims().encode()[1..].to_vec(), vec![0xff]].concat();
    rows.push(payload("A-09 indefinite claims", indefinite));
    // A gate's threads have 2 MiB; a quarter of it must do.
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    small.spawn(move || check(&rows)).unwrap().join().unwrap();
    // Longer than a text can carry, for whoever hands bytes in by another road.
    assert!(Envelope::parse(&[0x81; 10_000]).is_err());
    assert!(Claims::decode(&[0x81; 10_000]).is_err());
}

/// The claims map with some entries replaced: (key bytes, value bytes).
fn map(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = head(5, entries.len());
    for (key, value) in entries {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}

const ISS: (&[u8], &[u8]) = (&[0x01], b"\x62V1");
const AUD: (&[u8], &[u8]) = (&[0x03], b"\x62P1");
const EXP: (&[u8], &[u8]) = (&[0x04], &[0x1a, 0x6a, 0x29, 0x35, 0xa0]);
const NBF: (&[u8], &[u8]) = (&[0x05], &[0x1a, 0x6a, 0x29, 0x19, 0x80]);
const CTI: (&[u8], &[u8]) = (&[0x07], b"\x500123456789abcdef");
const OURS: (&[u8], &[u8]) = (&[0x3a, 0x00, 0x01, 0x00, 0x00], &[0x82, 0x01, 0x00]);

fn with_exp(name: &'static str, value: &[u8]) -> (&'static str, String, Defect) {
    payload(name, map(&[ISS, AUD, (&[0x04], value), NBF, CTI, OURS]))
}

#[test]
fn a_10_to_14_claims_that_are_not_those_of_a_pass() {
    assert_eq!(map(&[ISS, AUD, EXP, NBF, CTI, OURS]), claims().encode());
    let past: (&[u8], &[u8]) = (&[0x04], &[0x1a, 0x50, 0x00, 0x00, 0x00]);
    let mut trailing = claims().encode();
    trailing.push(0);
    check(&[
        payload("A-10 exp twice", map(&[ISS, AUD, past, EXP, NBF, CTI, OURS])),
        payload("A-10 exp twice, past one last", map(&[ISS, AUD, EXP, past, NBF, CTI, OURS])),
        payload("A-11 out of order", map(&[AUD, ISS, EXP, NBF, CTI, OURS])),
        payload("A-11 our claim first", map(&[OURS, ISS, AUD, EXP, NBF, CTI])),
        payload("A-11 a key not in its shortest form", map(&[(&[0x18, 0x01], ISS.1), AUD, EXP, NBF, CTI, OURS])),
        with_exp("A-11 exp in eight bytes", &[0x1b, 0, 0, 0, 0, 0x6a, 0x29, 0x35, 0xa0]),
        payload("A-11 product in two bytes", map(&[ISS, AUD, EXP, NBF, CTI, (OURS.0, &[0x82, 0x18, 0x01, 0x00])])),
        payload("A-12 a byte after the map", trailing),
        ("A-12 a byte after the token", Forgery { after: vec![0], ..forgery() }.text(), ENVELOPE),
        with_exp("A-13 float", &[0xfb, 0x41, 0xda, 0x8a, 0x4d, 0x68, 0, 0, 0]),
        with_exp("A-13 half float", &[0xf9, 0x7b, 0xff]),
        with_exp("A-13 infinity", &[0xf9, 0x7c, 0x00]),
        with_exp("A-13 text", b"\x6a1781085600"),
        with_exp("A-13 negative", &[0x3a, 0x6a, 0x29, 0x35, 0xa0]),
        with_exp("A-13 2^64-1", &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        with_exp("A-13 a big number tag", &[0xc2, 0x44, 0x6a, 0x29, 0x35, 0xa0]),
        with_exp("A-13 null", &[0xf6]),
        with_exp("A-13 undefined", &[0xf7]),
        with_exp("A-13 true", &[0xf5]),
        with_exp("A-13 before nbf", &[0x1a, 0x6a, 0x29, 0x19, 0x7f]),
        with_exp("A-13 equal to nbf", NBF.1),
        payload("A-13 cti of 15 bytes", map(&[ISS, AUD, EXP, NBF, (CTI.0, b"\x4f123456789abcdef"), OURS])),
        payload("A-13 cti as text", map(&[ISS, AUD, EXP, NBF, (CTI.0, b"\x700123456789abcdef"), OURS])),
        payload("A-13 vendor in lower case", map(&[(ISS.0, b"\x62v1"), AUD, EXP, NBF, CTI, OURS])),
        payload("A-13 vendor with a line end", map(&[(ISS.0, b"\x63V1\n"), AUD, EXP, NBF, CTI, OURS])),
        payload("A-13 vendor that is not UTF-8", map(&[(ISS.0, b"\x62\xff\xfe"), AUD, EXP, NBF, CTI, OURS])),
        payload("A-13 no cti", map(&[ISS, AUD, EXP, NBF, OURS])),
        payload("A-13 product of three parts", map(&[ISS, AUD, EXP, NBF, CTI, (OURS.0, &[0x83, 1, 0, 0])])),
        payload("A-13 an empty customer reference", map(&[ISS, (&[0x02], b"\x60"), AUD, EXP, NBF, CTI, OURS])),
        payload("A-13 not a map", vec![0x80]),
        payload("A-13 nothing", vec![]),
        payload("A-14 an unknown claim", map(&[ISS, AUD, EXP, NBF, CTI, (&[0x08], &[0x00]), OURS])),
        payload("A-14 iat", map(&[ISS, AUD, EXP, NBF, (&[0x06], NBF.1), CTI, OURS])),
        payload("A-14 an unknown flag", map(&[ISS, AUD, EXP, NBF, CTI, (OURS.0, &[0x82, 0x01, 0x08])])),
        payload("A-14 a claim with a text key", map(&[ISS, AUD, EXP, NBF, CTI, OURS, (b"\x61a", &[0x00])])),
        envelope("A-14 an unknown critical header", |f| {
            f.protected =
                [vec![0xa4, 0x01, 0x32, 0x02, 0x81, 0x18, 0x63, 0x04, 0x44], KID.0.to_vec(), vec![0x18, 0x63, 0x01]]
                    .concat();
        }),
        envelope("A-14 an unknown header", |f| {
            f.protected = [vec![0xa3, 0x01, 0x32, 0x04, 0x44], KID.0.to_vec(), vec![0x18, 0x63, 0x01]].concat();
        }),
    ]);
}

#[test]
fn a_15_to_20_other_envelopes() {
    let wrapped = |name, before: &[u8]| envelope(name, |f| f.before = before.to_vec());
    let alg = |name, alg: &[u8]| {
        envelope(name, |f| {
            f.protected = [&[0xa2, 0x01], alg, &[0x04, 0x44], &KID.0].concat();
        })
    };
    let kid = |name, kid: &[u8]| {
        envelope(name, |f| {
            f.protected = [vec![0xa2, 0x01, 0x32, 0x04], byte_string(kid)].concat();
        })
    };
    let signature = |name, length: usize| {
        envelope(name, |f| f.signature = Some(f.signature().into_iter().cycle().take(length).collect()))
    };
    let extra = |name, header: &[u8]| {
        envelope(name, |f| {
            f.protected = [&[0xa3, 0x01, 0x32, 0x04, 0x44][..], &KID.0, header].concat();
        })
    };
    let unprotected = |name, header: &[u8]| envelope(name, |f| f.unprotected = header.to_vec());
    check(&[
        wrapped("A-15 tag 18: a COSE_Sign1 has none here", &[0xd2, 0x84]),
        wrapped("A-15 tag 17: a MAC", &[0xd1, 0x84]),
        wrapped("A-15 tag 98: many signers", &[0xd8, 0x62, 0x84]),
        wrapped("A-15 tag 61: a CWT", &[0xd8, 0x3d, 0xd2, 0x84]),
        wrapped("A-15 tag 55799: self-described", &[0xd9, 0xd9, 0xf7, 0x84]),
        wrapped("A-15 an array of three", &[0x83]),
        wrapped("A-15 an array of five", &[0x85]),
        alg("A-16 none", &[0x00]),
        alg("A-16 none, as text", b"\x64none"),
        alg("A-16 HS256", &[0x05]),
        alg("A-16 ES256", &[0x26]),
        alg("A-16 EdDSA, which may be Ed448", &[0x27]),
        alg("A-16 Ed448", &[0x38, 0x34]),
        alg("A-16 Ed25519 not in its shortest form", &[0x38, 0x12]),
        envelope("A-16 HS256 with the public key as its secret", |f| {
            f.protected = [vec![0xa2, 0x01, 0x05, 0x04, 0x44], KID.0.to_vec()].concat();
            f.signature = Some(crate::ids::Hash::of("hmac", signing_key().verifying_key().as_bytes()).0.to_vec());
        }),
        envelope("A-17 alg only unprotected", |f| {
            f.protected = [vec![0xa1, 0x04, 0x44], KID.0.to_vec()].concat();
            f.unprotected = vec![0xa1, 0x01, 0x32];
        }),
        unprotected("A-17 alg in both", &[0xa1, 0x01, 0x32]),
        unprotected("A-17 another alg unprotected", &[0xa1, 0x01, 0x05]),
        envelope("A-17 an empty protected header", |f| f.protected = vec![]),
        envelope("A-17 header keys out of order", |f| {
            f.protected = [&[0xa2, 0x04, 0x44][..], &KID.0, &[0x01, 0x32]].concat();
        }),
        kid("A-18 kid of no bytes", &[]),
        kid("A-18 kid of three bytes", &KID.0[..3]),
        kid("A-18 kid of 100 bytes", &[0xa1; 100]),
        ("A-18 kid of 1 KiB", Forgery { protected: vec![0; 1024], ..forgery() }.text(), TOO_LONG),
        unprotected("A-18 kid unprotected", &[0xa1, 0x04, 0x44, 0xa1, 0xb2, 0xc3, 0xd4]),
        extra("A-19 COSE_Key", &[0x20, 0xa1, 0x01, 0x01]),
        extra("A-19 x5chain", &[0x18, 0x21, 0x41, 0x00]),
        extra("A-19 x5u", b"\x18\x23\x69http://a/"),
        unprotected("A-19 x5chain unprotected", &[0xa1, 0x18, 0x21, 0x41, 0x00]),
        unprotected("A-19 x5u unprotected", b"\xa1\x18\x23\x69http://a/"),
        signature("A-20 no signature", 0),
        signature("A-20 63 bytes", 63),
        signature("A-20 65 bytes", 65),
        signature("A-20 128 bytes", 128),
        envelope("A-25 detached payload", |f| f.payload_item = Some(vec![0xf6])),
        envelope("A-28 256 bytes declared", |f| f.payload_item = Some([vec![0x59, 1, 0], f.payload.clone()].concat())),
        envelope("A-28 257 bytes declared", |f| f.payload_item = Some([vec![0x59, 1, 1], f.payload.clone()].concat())),
        envelope("A-28 65,535 bytes declared", |f| {
            f.payload_item = Some([vec![0x59, 0xff, 0xff], f.payload.clone()].concat())
        }),
        envelope("A-28 length in two bytes", |f| {
            f.payload_item = Some([vec![0x59, 0, 47], f.payload.clone()].concat())
        }),
    ]);
}

/// The group order L, little endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn plus_order(signature: &[u8]) -> Vec<u8> {
    let mut sum = signature.to_vec();
    let mut carry = 0;
    for (byte, order) in sum[32..].iter_mut().zip(ORDER) {
        let total = u16::from(*byte) + u16::from(order) + carry;
        *byte = total as u8;
        carry = total >> 8;
    }
    sum
}

#[test]
fn a_18_and_24_to_26_keys_and_signatures() {
    let by = |key: SigningKey| Forgery { key, ..forgery() }.text();
    let aad = |aad| Forgery { aad, ..forgery() }.text();
    let rfc8032: [u8; 32] =
        hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap().try_into().unwrap();
    let unknown = [vec![0xa2, 0x01, 0x32, 0x04, 0x44], vec![9, 9, 9, 9]].concat();
    let malleated = plus_order(&forgery().signature());
    let kid = KID;
    check(&[
        ("A-18 unknown kid", Forgery { protected: unknown, ..forgery() }.text(), Defect::UnknownKey(Kid([9; 4]))),
        ("A-24 S + L", Forgery { signature: Some(malleated), ..forgery() }.text(), Defect::BadSignature(kid)),
        ("A-24 all zero", Forgery { signature: Some(vec![0; 64]), ..forgery() }.text(), Defect::BadSignature(kid)),
        ("A-25 no context", aad(b""), Defect::BadSignature(kid)),
        ("A-25 another context", aad(b"gatechunk/1"), Defect::BadSignature(kid)),
        ("A-25 a later context", aad(b"gatepass/2"), Defect::BadSignature(kid)),
        ("A-26 a device's key", by(key(4)), Defect::BadSignature(kid)),
        ("A-26 the venue's root", by(key(3)), Defect::BadSignature(kid)),
        ("A-26 the key of all zeros", by(key(0)), Defect::BadSignature(kid)),
        ("A-26 the test key of RFC 8032", by(SigningKey::from_bytes(&rfc8032)), Defect::BadSignature(kid)),
    ]);
}

#[test]
fn a_27_there_is_one_text_for_one_token() {
    let bytes = forgery().bytes();
    let mut hexed = String::from("GP1:");
    for byte in &bytes {
        write!(hexed, "{byte:02X}").unwrap();
    }
    let mut padded = forgery();
    padded.payload_item = Some([vec![0x58, 47], padded.payload.clone()].concat());
    assert_eq!(padded.text(), pass_text(), "47 bytes need the one-byte length");
    check(&[
        // Hexadecimal digits are Base45 digits too, so these are bytes, but not a token.
        ("A-27 upper-case hex", hexed, ENVELOPE),
        ("A-27 case", pass_text().replacen("GP1", "Gp1", 1), Defect::NotAPass),
        ("A-27 padding", format!("{}00", pass_text()), BASE45),
        envelope("A-27 other encoding of a length", |f| {
            f.payload_item = Some([vec![0x5a, 0, 0, 0, 47], f.payload.clone()].concat());
        }),
        envelope("A-27 other encoding of the empty header", |f| f.unprotected = vec![0xb8, 0x00]),
    ]);
}

#[test]
fn a_29_codes_of_other_systems() {
    check(&[
        ("pretix sig1", "eyJhbGciOiJFZERTQSJ9AQEAAQBkb".into(), Defect::NotAPass),
        ("pretix random", "z3fsn8jyufm5kpk768q69gkbyr5f4h6w".into(), Defect::NotAPass),
        ("EU DCC", "HC1:6BFOXN*TS0BI$ZD4N9:9S6RCVN5+O30K3/XIV0W23NTDE".into(), Defect::NotAPass),
        ("EU DCC in our prefix", "GP1:6BFOXN*TS0BI$ZD4N9:9S6RCVN5+O30K3/XIV0W23NTDE".into(), ENVELOPE),
        ("JWT", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.".into(), Defect::NotAPass),
        ("JWT in our prefix", "GP1:eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.".into(), BASE45),
        ("PASETO", "v4.public.eyJkYXRhIjoidGhpcyBpcyJ9".into(), Defect::NotAPass),
    ]);
}

#[derive(serde::Deserialize)]
struct Vector {
    message: String,
    pub_key: String,
    signature: String,
}

/// The vectors of "Taming the many EdDSAs" (novifinancial/ed25519-speccheck).
#[test]
fn a_23_all_twelve_speccheck_vectors_are_refused() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../golden/ed25519_speccheck.json")).unwrap();
    assert_eq!(vectors.len(), 12);
    let (mut registered, mut lenient, mut strict) = (vec![], vec![], vec![]);
    for (number, vector) in vectors.iter().enumerate() {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let (message, signature) = (bytes(&vector.message), bytes(&vector.signature));
        let raw: [u8; 32] = bytes(&vector.pub_key).try_into().unwrap();
        if let Ok(key) = PublicKey::register(&raw) {
            registered.push(number);
            assert!(!key.verifies(&message, &signature), "vector {number}");
        }
        // What the library does by itself: shows that the vectors are the published ones and that both rules are needed.
        let key = VerifyingKey::from_bytes(&raw).unwrap();
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        if key.verify(&message, &signature).is_ok() {
            lenient.push(number);
        }
        if key.verify_strict(&message, &signature).is_ok() {
            strict.push(number);
        }
    }
    assert_eq!(registered, [6, 7], "whose S is out of range");
    assert_eq!(strict, [3], "whose key has a small-order part");
    assert_eq!(lenient, [0, 1, 2, 3, 11]);
}

#[test]
fn bad_keys_are_not_registered() {
    use crate::keys::KeyError;
    let mixed = "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d";
    let weak = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa";
    let not_canonical = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
    for (name, text, expected) in [
        ("mixed order", mixed, Err(KeyError::Torsion)),
        ("small order", weak, Err(KeyError::Weak)),
        ("not canonical", not_canonical, Err(KeyError::NotCanonical)),
        ("the neutral point", &format!("01{}", "00".repeat(31)), Err(KeyError::Weak)),
        ("all zeros", &"00".repeat(32), Err(KeyError::Weak)),
        ("31 bytes", &"07".repeat(31), Err(KeyError::NotCanonical)),
        ("not on the curve", &format!("02{}", "00".repeat(31)), Err(KeyError::NotCanonical)),
    ] {
        assert_eq!(PublicKey::register(&hex::decode(text).unwrap()).map(|_| ()), expected, "{name}");
        let json = format!("\"{text}\"");
        assert!(serde_json::from_str::<PublicKey>(&json).is_err(), "{name}: a statement can't carry it");
    }
    let good = PublicKey::from(&signing_key());
    assert_eq!(PublicKey::register(good.as_bytes()), Ok(good));
}
