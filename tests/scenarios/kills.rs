//! A short run of the kill campaign; `cargo xtask campaign kill` runs it two hundred times.

use gate_tests::campaign::kill;

#[tokio::test(flavor = "multi_thread")]
async fn a_few_kills_lose_nothing_and_charge_nobody_twice() -> anyhow::Result<()> {
    let report = kill::run(4, 7, &mut |_| {}).await?;
    assert!(report.ok(), "{report}");
    Ok(())
}
