//! Parts that fail while a gate works.

use std::time::Duration;

use crate::Alone;

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_camera_shows_fault_and_comes_back_by_itself() -> anyhow::Result<()> {
    let mut alone = Alone::build("camera")?;
    alone.gate.start().await?;
    std::fs::write(alone.world.join("camera/frames/00000.unplug"), b"")?;
    let fault =
        alone.gate.wait_within(Duration::from_secs(2), "the fault shows", |s| s["screen"]["lamp"] == "fault").await?;
    assert_eq!(fault["status"]["camera"], "stalled");
    alone.gate.wait_within(Duration::from_secs(5), "it serves again", |s| s["screen"]["kind"] == "idle").await?;
    let frame = alone.frame(1)?;
    alone.gate.hold_up(&frame)?;
    alone.gate.wait("a pass is admitted", |s| s["screen"]["kind"] == "admit").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_hand_is_a_fault_and_the_pass_stays_good() -> anyhow::Result<()> {
    let mut alone = Alone::build("hand")?;
    alone.gate.start().await?;
    if let Some(mut hand) = alone.gate.gate_io.take() {
        hand.kill()?;
    }
    alone.gate.wait("the fault shows", |s| s["screen"]["kind"] == "fault" && s["status"]["gate_io"] == "lost").await?;
    alone.gate.start_gate_io()?;
    alone.gate.wait("it rests", |s| s["screen"]["kind"] == "idle").await?;
    let frame = alone.frame(2)?;
    alone.gate.hold_up(&frame)?;
    alone.gate.wait("the pass is admitted", |s| s["screen"]["kind"] == "admit").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_opens_without_the_brain() -> anyhow::Result<()> {
    let mut alone = Alone::build("fire")?;
    alone.gate.start().await?;
    if let Some(mut agent) = alone.gate.agent.take() {
        agent.kill()?;
    }
    alone.gate.board.drive("fire", true);
    assert!(alone.gate.board.wait_level("relay", true, Duration::from_secs(2)), "fire must open the gate by itself");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_touchscreen_answers_this_machine_only() -> anyhow::Result<()> {
    let mut alone = Alone::build("screen")?;
    alone.gate.start().await?;
    let client = gate_tests::world::http_client(Duration::from_secs(5))?;
    let url = format!("http://{}/v1/status", alone.gate.screen);
    let asked = |host: &str| client.get(&url).header("Host", host).send();
    assert_eq!(asked("evil.example").await?.status(), 421);
    assert_eq!(asked(&alone.gate.screen.to_string()).await?.status(), 200);
    let socket = client
        .get(format!("http://{}/ws", alone.gate.screen))
        .header("Origin", "http://evil.example")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .send()
        .await?;
    assert_eq!(socket.status(), 403);
    Ok(())
}
