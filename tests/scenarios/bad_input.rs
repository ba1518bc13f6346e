//! What an operator gets wrong, and what a card does to files: a clear message that names the thing and its cure.

use std::process::Command;

use gate_tests::world::program;
use serde_json::Value;

use crate::Alone;

/// Runs gate-agent and gives its exit code and what it said on stderr.
fn agent(config: &std::path::Path, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = Command::new(program("gate-agent")?).arg("--config").arg(config).args(arguments).output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_has_a_message_a_cure_and_an_exit_code() -> anyhow::Result<()> {
    let alone = Alone::build("mistakes")?;
    let config = alone.gate.config();
    let good = std::fs::read_to_string(&config)?;
    let broken = alone.world.join("broken.toml");
    std::fs::write(&broken, format!("{good}\n[moon]\nphase = 1\n"))?;
    let elsewhere = alone.world.join("elsewhere.toml");
    std::fs::write(&elsewhere, good.replace("/data\"", "/nobody\""))?;
    let missing = alone.world.join("missing.toml");
    for (what, path, arguments, code, words) in [
        ("no file", &missing, &["run"][..], 78, &["missing.toml", "config default"][..]),
        ("an unknown section", &broken, &["run"], 78, &["moon", "line"]),
        ("not enrolled", &elsewhere, &["run"], 1, &["not enrolled", "gate-agent enrol"]),
        ("a wrong code", &elsewhere, &["enrol", "??"], 1, &["code"]),
        ("nobody runs", &config, &["status"], 69, &["does not answer", "gate-agent run"]),
    ] {
        let (exit, said) = agent(path, arguments)?;
        assert_eq!(exit, Some(code), "{what}: {said}");
        for word in words {
            assert!(said.contains(word), "{what}: should say {word:?}: {said}");
        }
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_and_a_busy_port_are_refused_by_name() -> anyhow::Result<()> {
    let mut alone = Alone::build("second")?;
    let taken = std::net::TcpListener::bind(alone.gate.screen)?;
    let (exit, said) = agent(&alone.gate.config(), &["run"])?;
    assert_eq!(exit, Some(74), "{said}");
    assert!(said.contains("taken by another program") && said.contains("screen.listen"), "{said}");
    drop(taken);

    alone.gate.start().await?;
    let (exit, said) = agent(&alone.gate.config(), &["run"])?;
    assert_eq!(exit, Some(1), "{said}");
    assert!(said.contains("another gate-agent already runs"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_heals_at_the_next_start_and_the_damaged_file_is_kept() -> anyhow::Result<()> {
    let mut alone = Alone::build("damaged")?;
    let path = alone.gate.data_dir().join("replica.db");
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0x5a);
    std::fs::write(&path, &bytes)?;
    let (exit, said) = agent(&alone.gate.config(), &["doctor"])?;
    assert_eq!(exit, Some(1), "{said}");
    assert_eq!(std::fs::read(&path)?, bytes, "looking changes nothing");
    alone.gate.start_gate_io()?;
    alone.gate.start_agent()?;
    // Nothing tells it what is valid here, so it must not guess.
    let healed = |s: &Value| s["status"]["not_deciding"] == "not_set_up" && s["screen"]["kind"] != "wait";
    let status = alone.gate.wait("it has healed", healed).await?;
    assert_eq!(status["screen"]["kind"], "fault");
    assert_eq!(std::fs::read(path.with_file_name("replica.db.damaged-1"))?, bytes, "it is kept as it was");
    Ok(())
}
