//! Short runs of the campaigns; `cargo xtask campaign kill` and its like run them hundreds of times.

use gate_tests::campaign::{hand, hang, kill, unplug};

#[tokio::test(flavor = "multi_thread")]
async fn a_few_kills_lose_nothing_and_charge_nobody_twice() -> anyhow::Result<()> {
    let report = kill::run(4, 81, &mut |_| {}).await?;
    assert!(report.ok(), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_that_dies_in_a_pulse_lets_go_of_the_relay() -> anyhow::Result<()> {
    let figures = hand::run(5, 7, &mut |_| {}).await?;
    assert!(figures.ok(), "{figures}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brain_that_stands_still_opens_nothing() -> anyhow::Result<()> {
    let figures = hang::run(2, 4, &mut |_| {}).await?;
    assert!(figures.ok(), "{figures}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_pulled_out_again_and_again_comes_back_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let figures = unplug::run(10, 7, &mut |_| {}).await?;
    assert!(figures.ok(), "{figures}");
    Ok(())
}
