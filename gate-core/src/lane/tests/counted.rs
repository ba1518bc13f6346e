//! Scripts of refusals that are counted instead of written.

use super::Do::*;
use super::*;

#[test]
fn refusals_are_counted_by_the_minute() {
    let mut rig = Rig::new(entrance_setup());
    let mut present = |ms: u64, name: &'static str, reason: Reason| {
        let mut effects = rig.handle(ms, See(name));
        effects.extend(rig.handle(ms + 5, Refuses(name.chars().next().unwrap(), reason)));
        effects.retain(|effect| effect.starts_with("record"));
        effects
    };
    let nothing = [""; 0];
    assert_eq!(present(1_000, "A", Reason::AlreadyUsed), ["record refused already_used #0"]);
    assert_eq!(present(11_000, "A", Reason::AlreadyUsed), nothing);
    assert_eq!(present(21_000, "A", Reason::AlreadyUsed), nothing);
    assert_eq!(present(24_000, "A", Reason::LotFull), ["record refused lot_full #1"], "another reason");
    assert_eq!(present(27_000, "B", Reason::AlreadyUsed), ["record refused already_used #2"], "another pass");
    assert_eq!(present(30_000, "C", Reason::NotAPass), ["record noise not_a_pass #3"]);
    assert_eq!(present(33_000, "D", Reason::NotAPass), nothing, "all noise of one kind together");
    assert_eq!(present(36_000, "D", Reason::Malformed), ["record noise malformed #4"]);
    for record in 0..4 {
        rig.handle(36_100, Stored(record));
    }
    assert_eq!(rig.lane.next_wake(), Some(37_000_000), "the code leaves the view");
    assert_eq!(rig.handle(59_999, Wake), ["show idle red p8"]);
    assert_eq!(rig.lane.next_wake(), Some(60_000_000), "the minute is over");
    let mut over = rig.handle(60_000, Wake);
    over.sort();
    // Record 4 was alone, so there is nothing to add.
    assert_eq!(over, ["record repeated 0 x2 #6", "record repeated 3 x1 #5"]);
    assert_eq!(rig.lane.next_wake(), None);
}

#[test]
fn a_count_is_not_lost_when_its_first_record_is_late_or_fails() {
    let mut rig = Rig::new(entrance_setup());
    let present = |ms: u64, rig: &mut Rig| {
        let mut effects = rig.handle(ms, See("A"));
        effects.extend(rig.handle(ms + 5, Refuses('A', Reason::Expired)));
        effects.retain(|effect| effect.starts_with("record"));
        effects
    };
    assert_eq!(present(50_000, &mut rig), ["record refused expired #0"]);
    assert_eq!(present(55_000, &mut rig), [""; 0]);
    assert_eq!(rig.handle(60_000, Wake), ["show idle red p2"].map(String::from), "record 0 has no event yet");
    assert_eq!(present(61_000, &mut rig), ["record refused expired #1"], "a new minute");
    assert_eq!(rig.handle(62_000, Stored(0)), ["record repeated 0 x1 #2"]);
    // A record that fails: the next presentation is written although the minute is the same.
    rig.handle(62_100, NotStored(1));
    rig.handle(62_200, Works(Part::Storage));
    assert_eq!(present(66_000, &mut rig), ["record refused expired #5"]);
}
