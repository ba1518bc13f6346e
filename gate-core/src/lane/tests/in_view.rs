//! Scripts about many codes in view: strips of passes, posters, crowds.

use super::Do::*;
use super::*;
use PulseResult::Done;

#[test]
fn a_strip_of_passes_charges_one() {
    // Held still for a minute, the reader finding now all of them, now some.
    let mut script = vec![
        (0, See("AB"), &["judge A", "show wait yellow p0"] as &[&str]),
        (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (15, See("CA"), &[]),
        (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (500, See("ABC"), &[]),
        (900, Pulse(0, Done), &["record opened 0 #1"]),
        (1400, See("ABCD"), &[]),
    ];
    let frames = ["ABCD", "BCD", "D", "", "ABC", "CD"];
    script.extend((10..300).map(|n| (n * 200, See(frames[n as usize % frames.len()]), &[] as &[&str])));
    let mut rig = check("a strip", entrance_setup(), &script);
    // Taken away, and one of the others shown alone: somebody else's.
    rig.handle(61_000, Wake);
    assert_eq!(rig.handle(61_100, See("B")), ["judge B", "show wait yellow p1"]);

    // (what is seen when after A's admission, when another code is judged).
    type Frames<'a> = &'a [(u64, &'static str)];
    let rows: [(&str, Frames<'_>, Option<char>); 5] = [
        // The pulse is done at 900 ms; a code last seen at 200 ms is gone at 1200.
        ("the next car's code", &[(200, "A"), (1300, "B"), (1900, "B")], Some('B')),
        ("beside A only while it was judged", &[(5, "AB"), (800, "B"), (1700, "B"), (2600, "B")], None),
        (
            "drawn past the camera",
            &[(200, "A"), (1000, "AB"), (1900, "B"), (2700, "BC"), (3500, "C"), (4400, "C")],
            None,
        ),
        ("a poster beside A, then the next car", &[(200, "AP"), (1000, "P"), (1900, "PB"), (2800, "PB")], None),
        (
            "a poster must not lock the next car out for long",
            &[
                (200, "AP"),
                (1000, "P"),
                (1900, "PB"),
                (2800, "PB"),
                (3700, "PB"),
                (4600, "PB"),
                (5500, "PB"),
                (6400, "PB"),
                (7300, "PB"),
                (8010, "PB"),
            ],
            Some('B'),
        ),
    ];
    for (name, frames, judged) in rows {
        let mut rig = Rig::new(entrance_setup());
        let mut events = vec![(0, See("A")), (10, Admits('A')), (20, Stored(0)), (900, Pulse(0, Done))];
        events.extend(frames.iter().map(|(ms, codes)| (*ms, See(codes))));
        events.sort_by_key(|(ms, _)| *ms);
        let mut found = None;
        for (ms, what) in events {
            for effect in rig.handle(ms, what) {
                if effect.starts_with("judge") && effect != "judge A" {
                    found = effect.chars().last();
                }
            }
        }
        assert_eq!(found, judged, "{name}");
    }
}

#[test]
fn many_codes_in_view_do_not_keep_a_good_one_out() {
    let mut rig = Rig::new(entrance_setup());
    let crowd = "abcdefghijklmnop";
    let mut ms = 0;
    let mut judged = String::new();
    let mut see = |rig: &mut Rig, codes: &'static str, ms: u64| {
        for effect in rig.handle(ms, See(codes)) {
            if let Some(name) = effect.strip_prefix("judge ") {
                let name = name.chars().next().unwrap();
                judged.push(name);
                rig.handle(ms, Refuses(name, Reason::NotAPass));
            }
        }
    };
    // Sixteen bad codes, the first of which was judged; then the good one is held up beside them.
    while ms < 2000 {
        see(&mut rig, crowd, ms);
        ms += 100;
    }
    while ms < 40_000 {
        see(&mut rig, "abcdefghijklmnopZ", ms);
        ms += 100;
    }
    assert!(judged.starts_with("abcdefghijklmnopZ"), "each has its turn: {judged}");
}
