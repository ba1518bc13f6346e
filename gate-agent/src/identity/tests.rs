//! The key on its own machine, on another one, and after everything that can happen to its file.

use super::machine::tests::machine;
pub(crate) use super::machine::tests::pi;
use super::*;
use crate::replica::testing::{Folder, Venue};

#[test]
fn a_key_is_made_once_and_others_may_not_read_it() {
    let folder = Folder::new("key");
    let path = folder.path().join("device.key");
    let machine = pi(&folder, "10000000abcd0001");
    let key = device_key_on(&path, &machine).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o400);
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(32).any(|part| part == key.to_bytes()), "it is not there to be read");
    assert!(!String::from_utf8(bytes).unwrap().contains(&hex::encode(key.to_bytes())));
    assert_eq!(device_key_on(&path, &machine).unwrap().to_bytes(), key.to_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(matches!(device_key_on(&path, &machine), Err(IdentityError::Exposed { mode: 0o440, .. })));
    let short = folder.path().join("short.key");
    write_whole(&short, 0o400, &[1; 31]).unwrap();
    assert!(matches!(device_key(&short), Err(IdentityError::Length { found: 31, .. })));
    let nowhere = folder.path().join("missing/device.key");
    let error = device_key(&nowhere).unwrap_err().to_string();
    assert!(error.contains("missing") && !error.contains(&hex::encode(key.to_bytes())), "{error}");
    assert!(matches!(load_key(&folder.path().join("missing")), Err(IdentityError::File { .. })));
}

#[test]
fn a_key_opens_on_its_own_machine_only() {
    let folder = Folder::new("bound");
    let serial: (&str, &[u8]) = ("proc/device-tree/serial-number", b"10000000abcd0001\0");
    let id = |id: &'static [u8]| ("etc/machine-id", id);
    let otp = |bytes: &'static [u8]| ("sys/bus/nvmem/devices/nvmem_priv0/nvmem", bytes);
    type Files<'a> = Vec<(&'a str, &'a [u8])>;
    let rows: Vec<(&str, Files<'_>, Files<'_>, bool)> = vec![
        ("the same Pi", vec![serial, id(b"a")], vec![serial, id(b"a")], true),
        ("a new system on the same Pi", vec![serial, id(b"a")], vec![serial, id(b"b")], true),
        (
            "the same card in another Pi",
            vec![serial, id(b"a")],
            vec![("proc/device-tree/serial-number", b"2"), id(b"a")],
            false,
        ),
        ("a computer", vec![serial, id(b"a")], vec![id(b"a")], false),
        ("a Pi that now has a key of its own", vec![serial], vec![serial, otp(&[7; 32])], true),
        ("its own key", vec![serial, otp(&[7; 32])], vec![serial, otp(&[7; 32])], true),
        ("a serial number that lies", vec![serial, otp(&[7; 32])], vec![serial, otp(&[8; 32])], false),
        ("and one that hides its key", vec![serial, otp(&[7; 32])], vec![serial], false),
        ("another system", vec![id(b"a")], vec![id(b"b")], false),
        ("nothing names either", vec![], vec![], true),
    ];
    for (name, own, there, opens) in rows {
        let data = folder.path().join(name).join("state");
        fs::create_dir_all(&data).unwrap();
        let own = machine(&folder, &format!("{name}/own"), &own);
        let there = machine(&folder, &format!("{name}/there"), &there);
        let key = device_key_on(&key_path(&data), &own).unwrap();
        let before = fs::read(key_path(&data)).unwrap();
        for _ in 0..2 {
            match (load_key_on(&data, &there), opens) {
                (Ok(found), true) => assert_eq!(found.to_bytes(), key.to_bytes(), "{name}"),
                (Err(error @ IdentityError::OtherMachine { .. }), false) => {
                    let text = error.to_string();
                    assert!(text.contains("another machine") && text.contains("put it back"), "{name}: {text}");
                    assert!(device_key_on(&key_path(&data), &there).is_err(), "{name}: no key is made instead");
                    assert!(!matches!(bind_key(&data, &there), Ok(true)), "{name}: it is not bound to the other");
                }
                (found, _) => panic!("{name}: {:?}", found.map(|_| ())),
            }
        }
        assert_eq!(fs::read(key_path(&data)).unwrap(), before, "{name}: nothing is overwritten");
        assert_eq!(load_key_on(&data, &own).unwrap().to_bytes(), key.to_bytes(), "{name}: put back");
    }
}

#[test]
fn a_plain_key_of_an_older_gate_is_sealed_once_and_stays_the_same() {
    let folder = Folder::new("plain");
    let (own, other) = (pi(&folder, "10000000abcd0001"), pi(&folder, "10000000abcd0002"));
    let data = folder.path().join("state");
    fs::create_dir_all(&data).unwrap();
    write_whole(&key_path(&data), 0o400, &[9; 32]).unwrap();
    let same = |machine: &MachineFiles| load_key_on(&data, machine).unwrap().to_bytes() == [9; 32];
    assert!(same(&own) && same(&other) && !is_bound(&data), "as it always did");
    let nameless = machine(&folder, "nameless", &[]);
    assert!(!bind_key(&data, &nameless).unwrap() && !is_bound(&data), "where nothing names the machine it stays");
    assert!(bind_key(&data, &own).unwrap());
    assert!(same(&own) && is_bound(&data));
    assert!(matches!(load_key_on(&data, &other), Err(IdentityError::OtherMachine { .. })));
    assert_eq!(fs::metadata(key_path(&data)).unwrap().permissions().mode() & 0o7777, 0o400);
    let sealed = fs::read(key_path(&data)).unwrap();
    assert!(!bind_key(&data, &own).unwrap(), "once");
    assert_eq!(fs::read(key_path(&data)).unwrap(), sealed);
}

#[test]
fn a_power_cut_while_a_key_is_sealed_leaves_one_that_opens() {
    let folder = Folder::new("cut");
    let own = pi(&folder, "10000000abcd0001");
    let data = folder.path().join("state");
    fs::create_dir_all(&data).unwrap();
    let path = key_path(&data);
    let fresh = path.with_extension("new");
    let key = SigningKey::from_bytes(&[9; 32]);
    let sealed = sealed::seal(&key, &own).unwrap().unwrap();
    // What can be there: the old file with any part of the new one beside it, or the new file; the name is changed at once.
    let beside = [None, Some(0), Some(1), Some(sealed.len() / 2), Some(sealed.len())];
    let states = beside.map(|part| (vec![9; 32], part)).into_iter().chain([(sealed.clone(), None)]);
    for (there, part) in states {
        for file in [&path, &fresh] {
            let _absent = fs::remove_file(file);
        }
        write_whole(&path, 0o400, &there).unwrap();
        if let Some(length) = part {
            fs::write(&fresh, &sealed[..length]).unwrap();
        }
        assert_eq!(load_key_on(&data, &own).unwrap().to_bytes(), [9; 32], "{} bytes, {part:?}", there.len());
        bind_key(&data, &own).unwrap();
        assert!(is_bound(&data) && !fresh.exists(), "{} bytes, {part:?}: the next start finishes it", there.len());
        assert_eq!(load_key_on(&data, &own).unwrap().to_bytes(), [9; 32]);
    }
    // A cut while the very first key is written leaves none, and one is made.
    fs::remove_file(&path).unwrap();
    fs::write(&fresh, [9; 7]).unwrap();
    let made = device_key_on(&path, &own).unwrap();
    assert_eq!(load_key_on(&data, &own).unwrap().to_bytes(), made.to_bytes());
}

#[test]
fn a_damaged_key_file_is_not_taken_for_another_machines() {
    let folder = Folder::new("damaged");
    let own = pi(&folder, "10000000abcd0001");
    let data = folder.path().join("state");
    fs::create_dir_all(&data).unwrap();
    device_key_on(&key_path(&data), &own).unwrap();
    let good = fs::read(key_path(&data)).unwrap();
    let put = |bytes: &[u8]| {
        fs::remove_file(key_path(&data)).unwrap();
        write_whole(&key_path(&data), 0o400, bytes).unwrap();
    };
    for at in (0..good.len()).step_by(7).chain([good.len() - 2]) {
        let mut bent = good.clone();
        bent[at] ^= 1;
        put(&bent);
        let found = load_key_on(&data, &own).map(|_| ());
        let expected = matches!(found, Err(IdentityError::Damaged { .. } | IdentityError::Length { .. }));
        assert!(expected, "byte {at}: {found:?}");
        put(&good[..at]);
        let found = load_key_on(&data, &own).map(|_| ());
        let expected = matches!(found, Err(IdentityError::Damaged { .. } | IdentityError::Length { .. }));
        assert!(expected, "cut at {at}: {found:?}");
    }
    put(&good);
    load_key_on(&data, &own).unwrap();
}

#[test]
fn an_identity_is_read_back_and_a_damaged_one_says_so() {
    let folder = Folder::new("identity");
    let path = folder.path().join("identity.json");
    assert_eq!(IdentityFile::load(&path).unwrap(), None);
    let venue = Venue::new();
    let file = IdentityFile::of(&venue.identity(), &venue.enrolled(), Hash::ZERO);
    file.save(&path).unwrap();
    let read = IdentityFile::load(&path).unwrap().unwrap();
    assert_eq!(read, file);
    assert_eq!(read.enrolled(), venue.enrolled());
    fs::write(&path, "{").unwrap();
    assert!(IdentityFile::load(&path).unwrap_err().to_string().contains("identity.json"));
}
