//! News that can't be taken holds nothing up.

use super::*;

#[tokio::test]
async fn events_go_up_although_no_news_can_be_believed() {
    let mut both = Both::new(12);
    {
        let mut state = both.cloud.0.lock().unwrap();
        let position = both.replica.lock().unwrap().position().unwrap().0;
        // Whatever the cloud's database or somebody on the way made of it.
        state.chunks.push((position, ByteBuf::from(vec![0xd2; 40])));
    }
    for n in 1..=5 {
        both.record(n);
    }
    both.steps(40).await;
    assert_eq!(both.replica.lock().unwrap().pending_count().unwrap(), 0, "all was sent");
    assert!(!both.links.lock().unwrap().contains(&Link::Offline), "the cloud is there");
    let asked = both.cloud.0.lock().unwrap().asked.iter().filter(|asked| matches!(asked, Asked::Pull(_))).count();
    assert!((2..=20).contains(&asked), "it is asked again, with a pause each time: {asked} times in 40 steps");
    both.cloud.0.lock().unwrap().chunks.clear();
    both.steps(6).await;
    let news = both.replica.lock().unwrap().as_of_ms().unwrap();
    assert_eq!(news, Some(T0 + 5000), "what holds is taken as soon as there is some");
    both.nothing_is_lost();
}
