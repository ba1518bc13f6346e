//! Enrolment against a cloud that answers rightly and wrongly.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use gate_core::sync::v1::ENROL_PATH;
use serde_bytes::ByteBuf;

use super::*;
use crate::replica::testing::{DEVICE, Folder, GATE, OTHER_DEVICE, Venue};

#[test]
fn a_code_is_read_as_people_type_it() {
    for (typed, code) in [
        ("abcd-efgh", Some("ABCDEFGH")),
        (" ABCD EFGH ", Some("ABCDEFGH")),
        ("12345", None),
        ("ABCD_EFGH", None),
        ("", None),
    ] {
        assert_eq!(plain_code(typed).ok().as_deref(), code, "{typed}");
    }
}

#[test]
fn an_answer_is_believed_only_if_it_holds_together() {
    let venue = Venue::new();
    let own = PublicKey::from(&venue.device_key);
    let other = SigningKey::from_bytes(&[9; 32]);
    let good = venue.enrolled();
    let with = |change: &dyn Fn(&mut Enrolled)| {
        let mut enrolled = good.clone();
        change(&mut enrolled);
        enrolled
    };
    let mut bent = good.statements[0].to_vec();
    bent[30] ^= 1;
    for (name, enrolled, key, holds) in [
        ("good", good.clone(), own, true),
        ("not our key", good.clone(), PublicKey::from(&other), false),
        ("another root", with(&|e| e.root = PublicKey::from(&other)), own, false),
        ("another device", with(&|e| e.device = OTHER_DEVICE), own, false),
        ("another gate", with(&|e| e.gate = gate_core::ids::GateId(uuid::Uuid::nil())), own, false),
        ("another venue", with(&|e| e.venue = gate_core::ids::VenueId(uuid::Uuid::nil())), own, false),
        ("a bent statement", with(&|e| e.statements[0] = ByteBuf::from(bent.clone())), own, false),
        ("no settings key", with(&|e| drop(e.statements.remove(0))), own, false),
        ("no server key", with(&|e| drop(e.statements.remove(2))), own, false),
        ("nothing", with(&|e| e.statements.clear()), own, false),
    ] {
        assert_eq!(check(&enrolled, &key).is_ok(), holds, "{name}");
    }
}

/// A cloud that knows one code, and where it is.
async fn a_cloud(gets_lost: bool) -> (Cloud, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cloud: Cloud = Arc::new(Mutex::new((0, gets_lost)));
    let app = Router::new().route(ENROL_PATH, post(answer_enrolment)).with_state(cloud.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (cloud, format!("http://{address}"))
}

/// How often the cloud was asked, and whether its answers get lost.
type Cloud = Arc<Mutex<(u32, bool)>>;

async fn answer_enrolment(State(cloud): State<Cloud>, body: Bytes) -> Response {
    let problem = |status: StatusCode, code: &str| {
        (status, [(header::CONTENT_TYPE, "application/problem+json")], format!(r#"{{"code":"{code}"}}"#))
            .into_response()
    };
    let mut state = cloud.lock().unwrap();
    state.0 += 1;
    // The key is in the body and signs it.
    let envelope = gate_core::cose::Envelope::parse(&body).unwrap();
    let asked: Enrol = canonical::decode(&envelope.payload).unwrap();
    if envelope.verify(gate_core::cose::Purpose::Enrolment, &asked.key).is_err() || asked.code != "ABCDEFGH" {
        return problem(StatusCode::FORBIDDEN, "enrolment_code");
    }
    if state.1 {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "busy");
    }
    let venue = Venue::new();
    let mut enrolled = venue.enrolled();
    let device = gate_core::statement::DeviceKey { device: DEVICE, gate: GATE, key: asked.key, revoked: false };
    enrolled.statements[3] = ByteBuf::from(venue.statement(4, StatementBody::Device(device)));
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], canonical::encode(&enrolled)).into_response()
}

#[tokio::test]
async fn an_enrolment_that_was_cut_off_is_finished_by_doing_it_again() {
    let (cloud, url) = a_cloud(true).await;
    let folder = Folder::new("enrol");
    let data = folder.path().join("state");
    let machine = MachineFiles::here();

    // A wrong code, a typing mistake, a lost answer: nothing is stored but the key.
    let go = async |code: &str| {
        enrol_into(&data, &machine, &cloud_at(&url), code, |file| {
            let mut replica = crate::replica::testing::open(&data.join("replica.db"), 1);
            replica
                .set_identity(&file.identity, &file.enrolled(), crate::replica::testing::at(0))
                .map_err(|e| e.to_string())
        })
        .await
    };
    assert!(matches!(go("WXYZ-9999").await, Err(EnrolError::Expired)));
    assert!(matches!(go("?").await, Err(EnrolError::Code(_))));
    assert!(matches!(go("ABCD-EFGH").await, Err(EnrolError::Cloud(_))));
    let key = std::fs::read(identity::key_path(&data)).unwrap();
    assert!(IdentityFile::load(&identity::identity_path(&data)).unwrap().is_none());
    // The database can't be written: the identity is kept, and the cloud is not asked again.
    cloud.lock().unwrap().1 = false;
    let failed =
        enrol_into(&data, &machine, &cloud_at(&url), "ABCD-EFGH", |_| Err("the disk is full".to_owned())).await;
    assert!(matches!(failed, Err(EnrolError::Database(_))));
    let asked = cloud.lock().unwrap().0;
    let identity = go("abcdefgh").await.unwrap();
    assert_eq!((identity.device, identity.gate, cloud.lock().unwrap().0), (DEVICE, GATE, asked));
    assert_eq!(std::fs::read(identity::key_path(&data)).unwrap(), key, "one key from the first try to the last");
    // Another code is refused before it is spent.
    assert!(matches!(go("NEXT-CODE").await, Err(EnrolError::Already { .. })));
    assert_eq!(cloud.lock().unwrap().0, asked);
}

/// A card enrolled on one machine, in another one: it can be enrolled there, and whatever was on it is kept.
#[tokio::test]
async fn a_card_of_another_machine_is_enrolled_again_and_loses_nothing() {
    use crate::identity::tests::pi;
    let folder = Folder::new("moved");
    let data = folder.path().join("state");
    let (first, second) = (pi(&folder, "10000000abcd0001"), pi(&folder, "10000000abcd0002"));
    let database = data.join("replica.db");
    let store = |file: &IdentityFile| {
        let mut replica = crate::replica::testing::open(&database, 1);
        let now = crate::replica::testing::at(0);
        replica.set_identity(&file.identity, &file.enrolled(), now).map_err(|e| e.to_string())
    };
    let (cloud, url) = a_cloud(false).await;
    enrol_into(&data, &first, &cloud_at(&url), "ABCD-EFGH", store).await.unwrap();
    let files = |dir: &Path| {
        let mut files = std::collections::BTreeMap::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.extension().is_none_or(|extension| extension != "lock") {
                files.insert(path.file_name().unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
        files
    };
    let before = files(&data);

    // A wrong code or a cloud that does not answer: the card is as it was, but for the key that waits.
    let wrong = enrol_into(&data, &second, &cloud_at(&url), "WXYZ-9999", store).await;
    assert!(matches!(wrong, Err(EnrolError::Expired)), "{:?}", wrong.map(|_| ()));
    cloud.lock().unwrap().1 = true;
    assert!(enrol_into(&data, &second, &cloud_at(&url), "ABCD-EFGH", store).await.is_err());
    cloud.lock().unwrap().1 = false;
    let waiting = std::fs::read(data.join("device.next-key")).unwrap();
    let mut kept = files(&data);
    kept.retain(|name, _| name != "device.next-key");
    assert!(kept == before, "{:?} were {:?}", kept.keys(), before.keys());
    identity::load_key_on(&data, &first).unwrap();

    // The agent that shows the fault must be stopped first.
    let running = daemon::lock(&data).unwrap();
    let refused = enrol_into(&data, &second, &cloud_at(&url), "ABCD-EFGH", store).await;
    assert!(matches!(refused, Err(EnrolError::Running(_))), "{:?}", refused.map(|_| ()));
    drop(running);

    enrol_into(&data, &second, &cloud_at(&url), "ABCD-EFGH", store).await.unwrap();
    let now = std::fs::read(identity::key_path(&data)).unwrap();
    assert!(now == waiting, "one key from the first try to the last");
    identity::load_key_on(&data, &second).unwrap();
    assert!(matches!(identity::load_key_on(&data, &first), Err(IdentityError::OtherMachine { .. })));
    let aside: Vec<_> =
        std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(files(&aside[0]) == before, "everything that the other machine knew");
    identity::load_key_on(&aside[0], &first).unwrap();
}

#[test]
fn a_card_that_was_set_aside_half_is_set_aside_again() {
    use crate::identity::tests::pi;
    let (names, all) = (["replica.db", "replica.db-wal", "identity.json"], 1u8 << 3);
    // Each of the files may have been moved already when the power went.
    for moved in 0..all {
        let folder = Folder::new("half-aside");
        let (first, second) = (pi(&folder, "10000000abcd0001"), pi(&folder, "10000000abcd0002"));
        let data = folder.path().join("state");
        std::fs::create_dir_all(&data).unwrap();
        identity::device_key_on(&identity::key_path(&data), &first).unwrap();
        let key = identity::next_key(&data, &second).unwrap();
        let bytes = std::fs::read(identity::key_path(&data)).unwrap();
        let aside = data.join(format!("other-machine-{}", hex::encode(&Hash::of("gatecardaside/1", &bytes).0[..4])));
        std::fs::create_dir_all(&aside).unwrap();
        for (bit, name) in names.into_iter().enumerate() {
            let dir = if moved & 1 << bit == 0 { &data } else { &aside };
            std::fs::write(dir.join(name), name).unwrap();
        }
        assert_eq!(identity::set_aside(&data).unwrap(), aside, "{moved:03b}");
        for name in names {
            assert_eq!(std::fs::read_to_string(aside.join(name)).unwrap(), name, "{moved:03b}");
            assert!(!data.join(name).exists(), "{moved:03b}");
        }
        assert_eq!(identity::load_key_on(&data, &second).unwrap().to_bytes(), key.to_bytes(), "{moved:03b}");
        identity::load_key_on(&aside, &first).unwrap();
    }
}

/// A cloud that is reached without TLS.
fn cloud_at(url: &str) -> CloudAt {
    CloudAt { url: url.to_owned(), client: crate::sync::transport::client(Limits::default()).unwrap() }
}
