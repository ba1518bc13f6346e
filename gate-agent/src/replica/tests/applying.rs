//! What is believed from the cloud, and what is refused.

use ed25519_dalek::SigningKey;
use gate_core::event::{EventBody, Part};
use gate_core::ids::{Hash, VenueId};
use gate_core::keys::PublicKey;
use gate_core::statement::{Duty, Statement, StatementBody, TimeReset};
use gate_core::sync::v1::{AsOf, Change, Chunk, PullReply, Signed};
use gate_core::time::{Now, Trust};
use gate_core::view::PassStanding;
use serde_bytes::ByteBuf;

use crate::replica::ReplicaError;
use crate::replica::testing::*;

fn one(chunk: ByteBuf) -> PullReply {
    PullReply { chunks: vec![chunk], as_of: None, more: false }
}

/// Everything the replica knows that a bad reply must not change.
fn known(replica: &mut crate::replica::Replica) -> (u64, Hash, Option<i64>, u64, bool) {
    let (position, head) = replica.position().unwrap();
    let mut reader = replica.reader().unwrap();
    let gate = reader.gate().unwrap().unwrap();
    let revoked = reader.view(&scanned(7, 0), &gate, at(0)).unwrap().row.is_some();
    (position, head, replica.as_of_ms().unwrap(), reader.keyring_version().unwrap(), revoked)
}

#[test]
fn nothing_is_believed_that_is_not_the_next_signed_chunk() {
    let mut venue = Venue::new();
    let folder = Folder::new("refuse");
    let mut replica = venue.gate(&folder.db());
    let before = venue.clone();
    let stranger = SigningKey::from_bytes(&[66; 32]);
    let revoke = || vec![pass_change(7, PassStanding::Revoked)];
    let good = |venue: &Venue| Chunk {
        venue: venue.id,
        from: venue.position,
        to: venue.position + 1,
        previous: venue.head,
        changes: revoke(),
    };
    let signed = |chunk: Chunk| ByteBuf::from(chunk.sign(&before.settings));
    let first = {
        let mut fresh = Venue::new();
        let basics = fresh.basics();
        fresh.chunk(basics)
    };
    let mut flipped = good(&before).sign(&before.settings);
    flipped[40] ^= 1;
    let foreign = Statement { venue: before.id, number: 9, body: before.issuer(true) }.sign(&stranger);
    let mut bent = before.statement(9, before.issuer(true));
    let at_byte = bent.len() / 2;
    bent[at_byte] ^= 4;
    let elsewhere = Statement { venue: VenueId(uuid::Uuid::from_u128(99)), number: 9, body: before.issuer(true) }
        .sign(&before.root);
    let with = |bytes: Vec<u8>| {
        signed(Chunk {
            changes: vec![pass_change(7, PassStanding::Revoked), Change::Statement(ByteBuf::from(bytes))],
            to: before.position + 2,
            ..good(&before)
        })
    };
    for (name, chunk, says) in [
        ("another signer", ByteBuf::from(good(&before).sign(&stranger)), "settings key"),
        ("signed by the root", ByteBuf::from(good(&before).sign(&before.root)), "settings key"),
        ("a flipped bit", ByteBuf::from(flipped), "settings key"),
        ("nothing", ByteBuf::new(), "settings key"),
        ("a gap", signed(Chunk { from: before.position + 1, to: before.position + 2, ..good(&before) }), "missing"),
        ("rolled back", first, "already"),
        ("another history", signed(Chunk { previous: Hash([7; 32]), ..good(&before) }), "another history"),
        (
            "another venue",
            signed(Chunk { venue: VenueId(uuid::Uuid::from_u128(99)), ..good(&before) }),
            "another venue",
        ),
        ("a wrong length", signed(Chunk { to: before.position + 5, ..good(&before) }), "holds 1"),
        ("empty", signed(Chunk { to: before.position, changes: vec![], ..good(&before) }), "holds 0"),
        (
            "too long",
            signed(Chunk {
                to: before.position + 501,
                changes: vec![pass_change(7, PassStanding::Revoked); 501],
                ..good(&before)
            }),
            "holds 501",
        ),
        ("a stranger's statement", with(foreign), "root"),
        ("a bent statement", with(bent), "root"),
        ("a statement of another venue", with(elsewhere), "another venue"),
    ] {
        let was = known(&mut replica);
        let error = replica.apply(&one(chunk), at(0)).unwrap_err();
        assert!(matches!(&error, ReplicaError::Refused(why) if why.contains(says)), "{name}: {error}");
        assert_eq!(known(&mut replica), was, "{name} left a trace");
    }
    // The good one still applies, and the one after it.
    let reply = venue.reply(revoke(), T0);
    let applied = replica.apply(&reply, at(0)).unwrap();
    assert_eq!((applied.changes, applied.position, applied.more), (1, 10, false));
    assert!(known(&mut replica).4);
    assert!(replica.apply(&reply, at(0)).is_err(), "the same reply again");
}

#[test]
fn good_chunks_before_a_bad_one_stay() {
    let mut venue = Venue::new();
    let folder = Folder::new("partly");
    let mut replica = venue.gate(&folder.db());
    let good = venue.chunk(vec![pass_change(7, PassStanding::Revoked)]);
    let mut bad = venue.chunk(vec![pass_change(8, PassStanding::Revoked)]);
    bad[30] ^= 1;
    let reply = PullReply { chunks: vec![good, bad], as_of: None, more: false };
    assert!(replica.apply(&reply, at(0)).is_err());
    assert_eq!(replica.position().unwrap().0, 10);
    assert!(known(&mut replica).4);
}

#[test]
fn age_is_believed_only_from_the_settings_key_about_this_very_state() {
    let mut venue = Venue::new();
    let folder = Folder::new("as-of");
    let mut replica = venue.gate(&folder.db());
    let good = |ms| AsOf { venue: venue.id, position: venue.position, head: venue.head, as_of_ms: T0 + ms };
    let only = |bytes: Vec<u8>| PullReply { chunks: vec![], as_of: Some(ByteBuf::from(bytes)), more: false };
    for (name, as_of, key, holds) in [
        ("newer", good(1000), &venue.settings, Some(T0 + 1000)),
        ("older changes nothing", good(500), &venue.settings, Some(T0 + 1000)),
        ("another signer", good(9000), &venue.server, None),
        ("another position", AsOf { position: 3, ..good(9000) }, &venue.settings, None),
        ("another head", AsOf { head: Hash::ZERO, ..good(9000) }, &venue.settings, None),
        ("another venue", AsOf { venue: VenueId(uuid::Uuid::from_u128(9)), ..good(9000) }, &venue.settings, None),
    ] {
        let result = replica.apply(&only(as_of.sign(key)), at(0));
        assert_eq!(result.is_ok(), holds.is_some(), "{name}");
        assert_eq!(replica.as_of_ms().unwrap(), Some(T0 + 1000), "{name}");
    }
}

#[test]
fn the_newest_statement_about_a_subject_holds() {
    let mut venue = Venue::new();
    let folder = Folder::new("statements");
    let mut replica = venue.gate(&folder.db());
    let kid = gate_core::ids::Kid([1, 2, 3, 4]);
    let revoked =
        |replica: &crate::replica::Replica| replica.reader().unwrap().keyring().unwrap().named(kid)[0].revoked;
    let tell = |replica: &mut crate::replica::Replica, venue: &mut Venue, bytes: Vec<u8>| {
        let reply = venue.reply(vec![Change::Statement(ByteBuf::from(bytes))], T0);
        replica.apply(&reply, at(0))
    };
    assert!(!revoked(&replica));
    let statement = venue.statement(8, venue.issuer(true));
    assert!(tell(&mut replica, &mut venue, statement).unwrap().keys_changed);
    assert!(revoked(&replica));
    let statement = venue.statement(7, venue.issuer(false));
    assert!(!tell(&mut replica, &mut venue, statement).unwrap().keys_changed, "an older number changes nothing");
    assert!(revoked(&replica));
    let double = venue.statement(8, venue.issuer(false));
    let position = replica.position().unwrap();
    assert!(tell(&mut replica, &mut venue.clone(), double).is_err(), "two statements of one number");
    assert_eq!(replica.position().unwrap(), position);
    // The settings key is replaced: what the old one signs from then on is refused.
    let old = venue.settings.clone();
    let next = SigningKey::from_bytes(&[77; 32]);
    let statement = venue.duty(9, Duty::Settings, &next);
    let with_old = venue.chunk(vec![Change::Statement(ByteBuf::from(statement))]);
    venue.settings = next;
    let with_new = venue.chunk(vec![pass_change(7, PassStanding::Blocked)]);
    let reply = PullReply { chunks: vec![with_old, with_new], as_of: None, more: false };
    replica.apply(&reply, at(0)).unwrap();
    let mut stale = venue.clone();
    stale.settings = old;
    let reply = stale.reply(vec![pass_change(7, PassStanding::Live)], T0);
    assert!(replica.apply(&reply, at(0)).is_err());
    assert_eq!(replica.duty_key(Duty::Settings).unwrap(), PublicKey::from(&venue.settings));
}

#[test]
fn a_restart_goes_on_from_where_the_replica_stood() {
    let mut venue = Venue::new();
    let folder = Folder::new("restart");
    let before = known(&mut venue.gate(&folder.db()));
    let mut replica = open(&folder.db(), 2);
    assert_eq!(known(&mut replica), before);
    let reply = venue.reply(vec![pass_change(7, PassStanding::Revoked)], T0);
    replica.apply(&reply, at(0)).unwrap();
    assert!(known(&mut replica).4);
}

#[test]
fn an_impossible_change_is_refused_and_the_old_replica_stays() {
    let folder = Folder::new("impossible");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let before = known(&mut replica);
    let mut endless = gate_row(GATE, "North", gate_core::ids::Direction::In);
    endless.open_ms = u32::MAX;
    let mut circle = venue.zone(100, Some(GATE));
    circle.parent = Some(circle.id);
    for (what, change) in [("open", Change::Gate(endless)), ("within itself", Change::Zone(circle))] {
        let mut lying = venue.clone();
        let reply = lying.reply(vec![pass_change(7, PassStanding::Revoked), change], T0 + 5);
        let refused = replica.apply(&reply, at(5));
        assert!(matches!(&refused, Err(ReplicaError::Refused(why)) if why.contains(what)), "{refused:?}");
        assert_eq!(known(&mut replica), before, "{what}: nothing of it was applied");
    }
}

/// D75: the service's clock was a year ahead, and somebody set it right.
#[test]
fn the_venues_word_takes_wrong_signed_time_back_once() {
    const YEAR: i64 = 365 * 86_400_000;
    let mut venue = Venue::new();
    let folder = Folder::new("time-reset");
    let mut replica = venue.gate(&folder.db());
    let wrong = Now { wall_ms: T0 + YEAR, trust: Trust::Signed, ..at(1) };
    replica.set_floor_ms(wrong.wall_ms).unwrap();
    let ahead = venue.reply(vec![], wrong.wall_ms);
    replica.apply(&ahead, wrong).unwrap();
    let noted = || EventBody::Health { part: Part::Camera, working: true, detail: String::new() };
    replica.record(None, wrong, noted()).unwrap();
    let seen = |replica: &mut crate::replica::Replica| {
        let newest = replica.newest_at().unwrap().map(|now| now.wall_ms - T0);
        (replica.floor_ms().unwrap() - T0, replica.as_of_ms().unwrap().map(|ms| ms - T0), newest)
    };
    assert_eq!(seen(&mut replica), (YEAR, Some(YEAR), Some(YEAR)));
    let right = venue.reply(vec![], T0 + 10);
    replica.apply(&right, at(10)).unwrap();
    assert_eq!(seen(&mut replica).1, Some(YEAR), "an earlier word about the replica's age changes nothing by itself");
    let word = |venue: &Venue, number, floor_ms| {
        Change::Statement(ByteBuf::from(venue.statement(number, StatementBody::Time(TimeReset { floor_ms }))))
    };
    let said = word(&venue, 20, T0 + 20);
    let mut reply = venue.reply(vec![said], T0 + 30);
    reply.as_of = None;
    replica.apply(&reply, at(30)).unwrap();
    assert_eq!(replica.time_reset().unwrap(), Some(20));
    assert_eq!(seen(&mut replica), (20, Some(20), None), "the gate goes on deciding: the word's own moment is proved");
    assert!(replica.is_resyncing().unwrap(), "what seemed over for a year may be wanted");
    let mut whole = Venue::new();
    let mut changes = whole.basics();
    changes.push(word(&venue, 20, T0 + 20));
    let reply = whole.reply(changes, T0 + 30);
    replica.apply(&reply, at(31)).unwrap();
    assert_eq!(seen(&mut replica), (30, Some(30), None), "and is as new as the reply says");
    assert!(!replica.is_resyncing().unwrap());
    let mut venue = whole;
    replica.record(None, wrong, noted()).unwrap();
    assert_eq!(seen(&mut replica).2, None, "what was under way has the wrong time");
    replica.record(None, at(40), noted()).unwrap();
    assert_eq!(seen(&mut replica).2, Some(40));
    // An older word, and the same one again.
    replica.set_floor_ms(T0 + 1_000).unwrap();
    for (number, floor_ms) in [(19, T0), (20, T0 + 20)] {
        let said = word(&venue, number, floor_ms);
        let reply = venue.reply(vec![said], T0 + 50);
        replica.apply(&reply, at(50)).unwrap();
        assert_eq!(seen(&mut replica).0, 1_000, "{number}");
    }
    drop(replica);
    assert_eq!(seen(&mut open(&folder.db(), 3)).0, 1_000, "after a restart");
}
