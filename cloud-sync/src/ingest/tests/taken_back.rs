//! What is taken back, and what a zone then holds.

use super::*;

#[tokio::test]
async fn an_annulment_frees_use_and_place_in_either_order() {
    for reversed in [false, true] {
        let lot = Lot::new(2).await;
        let base = lot.morning(vec![])[1].event.id;
        let events = lot.morning(vec![EventBody::Annulled { of: base }, EventBody::Annulled { of: base }]);
        let mut sent = bytes(&events);
        if reversed {
            sent.reverse();
        }
        let reply = lot.entrance.push(&lot.world, &sent).await;
        assert!(!reply.outcomes.iter().any(parked), "taking back twice is once");
        assert_eq!(lot.occupancy().await, 1, "reversed: {reversed}");
        let pass = lot.world.get(&lot.world.at(&format!("passes/{}", lot.ctis[0]))).await.ok().json();
        assert_eq!((pass["status"].as_str(), pass["uses"][0]["annulled"].as_bool()), (Some("valid"), Some(true)));
        let entries: i64 = lot.overview().await["rates"]["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| bucket["entries"].as_i64().unwrap())
            .sum();
        assert_eq!(entries, 1);
    }
}

/// What was counted and did not happen is taken back, whatever counted it and whichever of the two comes first.
#[tokio::test]
async fn what_did_not_happen_is_taken_back_for_every_kind_of_opening_in_either_order() {
    let opened = |watched: bool| move |of: EventId| EventBody::Opened { of, watched };
    let passed = |of: EventId| EventBody::Passed { of: Some(of), direction: Direction::Out };
    let not_opened = |unknown: bool| move |of: EventId| EventBody::NotOpened { of, unknown };
    type Takers = Vec<Box<dyn Fn(EventId) -> EventBody>>;
    let annulled = || -> Takers { vec![Box::new(|of| EventBody::Annulled { of })] };
    let both = |first: bool| -> Takers {
        let mut both: Takers = vec![Box::new(|of| EventBody::Annulled { of }), Box::new(not_opened(false))];
        if first {
            both.reverse();
        }
        both
    };
    for (name, takers, taken, parked_items) in [
        ("nothing", vec![], false, 0),
        ("opened", vec![Box::new(opened(false)) as Box<dyn Fn(EventId) -> EventBody>], false, 0),
        ("opened and watched", vec![Box::new(opened(true)) as Box<dyn Fn(EventId) -> EventBody>], false, 0),
        (
            "opened and gone",
            vec![Box::new(opened(true)) as Box<dyn Fn(EventId) -> EventBody>, Box::new(passed)],
            false,
            0,
        ),
        (
            "opened, gone and annulled",
            vec![Box::new(opened(true)) as _, Box::new(passed) as _, annulled().remove(0)],
            true,
            0,
        ),
        ("annulled", annulled(), true, 0),
        ("annulled twice", vec![annulled().remove(0), annulled().remove(0)], true, 0),
        ("certainly not opened", vec![Box::new(not_opened(false)) as Box<dyn Fn(EventId) -> EventBody>], true, 0),
        ("perhaps opened", vec![Box::new(not_opened(true))], false, 0),
        ("annulled, then not opened", both(false), true, 0),
        ("not opened, then annulled", both(true), true, 0),
        (
            "not opened twice",
            vec![Box::new(not_opened(false)) as Box<dyn Fn(EventId) -> EventBody>, Box::new(not_opened(false))],
            true,
            0,
        ),
    ] {
        for kind in ["authorised", "overridden in", "overridden out", "exit button"] {
            for reversed in [false, true] {
                let case = format!("{kind}, {name}, reversed: {reversed}");
                let lot = Lot::and_one_more(2).await;
                let zones = vec![lot.entrance.zone];
                let over = |direction| EventBody::Overridden {
                    staff: None,
                    why: "other".into(),
                    note: None,
                    direction,
                    zones: zones.clone(),
                    generations: vec![0],
                    over: None,
                };
                // Two are in already, by an earlier journal, so that leaving shows.
                let morning = lot.morning(vec![]);
                lot.entrance.push(&lot.world, &bytes(&morning)).await;
                let last = morning.last().unwrap();
                let head = Head { event: last.event.id, hash: last.hash };
                let (mut journal, opened) = lot.entrance.journal(12, Some(head));
                let body = match kind {
                    "authorised" => lot.entrance.admit(&lot.spare, &lot.keys, NOON + 70_000),
                    "overridden in" => over(Direction::In),
                    "overridden out" => over(Direction::Out),
                    _ => EventBody::ExitButton { zones: zones.clone(), generations: vec![0] },
                };
                let base = journal.append(None, now(NOON + 70_000), body);
                let of = base.event.id;
                let mut sent = vec![opened.bytes, base.bytes];
                for taker in &takers {
                    sent.push(journal.append(None, now(NOON + 71_000), taker(of)).bytes);
                }
                if reversed {
                    sent.reverse();
                }
                let reply = lot.entrance.push(&lot.world, &sent).await;
                assert_eq!(reply.outcomes.iter().filter(|o| parked(o)).count(), parked_items, "{case}");
                let entered = matches!(kind, "authorised" | "overridden in");
                let expected = match (taken, entered) {
                    (true, _) => 2,
                    (false, true) => 3,
                    // Its place is kept until it is known that somebody left.
                    (false, false) if matches!(name, "opened" | "opened and gone") => 1,
                    (false, false) => 2,
                };
                assert_eq!(lot.occupancy().await, expected, "{case}");
                let bucket = lot.overview().await["rates"]["buckets"][95].clone();
                let (entries, exits) = if taken {
                    (2, 0)
                } else if entered {
                    (3, 0)
                } else {
                    (2, 1)
                };
                assert_eq!(
                    (bucket["entries"].as_i64(), bucket["exits"].as_i64()),
                    (Some(entries), Some(exits)),
                    "{case}"
                );
                if kind == "authorised" {
                    let pass = lot.world.get(&lot.world.at(&format!("passes/{}", lot.spare_cti))).await.ok().json();
                    let word = if taken { "valid" } else { "used" };
                    assert_eq!(pass["status"], word, "{case}");
                    assert_eq!(pass["uses"][0]["annulled"], taken, "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_taken_back_opening_counts_where_the_opening_counts() {
    // The recount saw the admission, so neither it nor its annulment adds to the number.
    let lot = Lot::new(1).await;
    let zone = lot.entrance.zone;
    let of = lot.morning(vec![])[1].event.id;
    let recount = Recount { zone, generation: 1, observed: 7, at_ms: NOON + 1500, frontier: vec![of], before: None };
    let events = lot.morning(vec![EventBody::Recounted(recount), EventBody::NotOpened { of, unknown: false }]);
    for reversed in [false, true] {
        let mut sent = bytes(&events);
        if reversed {
            sent.reverse();
        }
        lot.entrance.push(&lot.world, &sent).await;
        assert_eq!(lot.occupancy().await, 7, "reversed: {reversed}");
    }
}

#[tokio::test]
async fn more_in_a_zone_than_it_holds_is_said_once_until_it_ends() {
    let lot = Lot::new(3).await;
    let zone = lot.entrance.zone;
    let set = async |capacity: u32| {
        let path = lot.world.at(&format!("zones/{zone}"));
        lot.world.send(lot.world.request("PATCH", &path, Some(json!({"capacity": capacity})))).await.ok()
    };
    set(2).await;
    let events = lot.morning(vec![]);
    for event in &events {
        lot.entrance.push(&lot.world, std::slice::from_ref(&event.bytes)).await;
    }
    assert_eq!(lot.alerts().await, ["over_capacity"]);
    let warned = lot.overview().await["warnings"].clone();
    assert_eq!(
        warned,
        json!([{"kind": "over_capacity", "zone_id": zone, "zone": "Lot", "occupancy": 3, "capacity": 2}])
    );
    let (mut journal, opened) = lot.exit.journal(21, None);
    let [asked, gone] = leave(&mut journal, zone, 0, NOON + 5000);
    lot.exit.push(&lot.world, &[opened.bytes, asked.bytes, gone.bytes]).await;
    assert_eq!(lot.overview().await["warnings"], json!([]));
    set(1).await;
    assert_eq!(lot.alerts().await, ["over_capacity", "over_capacity"], "a second time is told again");
    assert_eq!(lot.overview().await["zones"][0]["capacity"], 1, "a capacity below what is in it is taken");
}
