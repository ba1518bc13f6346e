//! A device that is not believed tells all that it has, and nothing over and over.

use std::collections::BTreeMap;

use super::*;

/// How often the cloud was told of each event that it keeps aside.
fn told(both: &Both) -> BTreeMap<EventId, usize> {
    let state = both.cloud.0.lock().unwrap();
    let mut times = BTreeMap::new();
    for id in state.fenced.iter().flatten() {
        *times.entry(*id).or_default() += 1;
    }
    times
}

#[tokio::test]
async fn a_fenced_device_tells_everything_also_after_a_road_that_carried_one_event_at_a_time() {
    let mut both = Both::new(8);
    for n in 1..=40 {
        both.record(n);
    }
    both.cloud.0.lock().unwrap().longest_push = 0;
    both.steps(30).await;
    {
        let mut state = both.cloud.0.lock().unwrap();
        (state.longest_push, state.fenced) = (usize::MAX, Some(vec![]));
    }
    both.steps(60).await;
    let waits = both.replica.lock().unwrap().pending_count().unwrap();
    assert_eq!(told(&both).len() as u64, waits, "all was told");
    both.record(41);
    both.record(42);
    both.steps(60).await;
    let times = told(&both);
    assert_eq!(times.len() as u64, waits + 2, "and what came later too");
    // Each push that asks whether somebody has looked holds one of them.
    let often = times.values().filter(|times| **times > 2).count();
    assert!(often <= 2, "{often} of {} were told more than twice", times.len());
    both.nothing_is_lost();
    // A manager lets it go on.
    both.cloud.0.lock().unwrap().fenced = None;
    both.steps(30).await;
    assert_eq!(both.replica.lock().unwrap().pending_count().unwrap(), 0);
    both.nothing_is_lost();
}
