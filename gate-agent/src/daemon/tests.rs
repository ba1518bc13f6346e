//! A whole agent without eye and hand: on its own machine, and with its card in another one.

use std::time::Duration;

use gate_core::ids::Hash;
use serde_json::Value;

use super::*;
use crate::identity::tests::pi;
use crate::replica::testing::{Folder, Venue};

/// Runs an agent until its status satisfies, and gives that.
async fn status_on(config: &Config, machine: &MachineFiles, until: impl Fn(&Value) -> bool) -> Value {
    // The port is free now; the agent binds it in a moment. At an address of its own, so that no other test takes it.
    let address = std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let config = Config { screen: address, ..config.clone() };
    let (stop, stopped) = watch::channel(false);
    let agent = run_on(config, machine, stopped);
    let ask = async {
        loop {
            let status = reqwest::Client::new().get(format!("http://{address}/v1/status"));
            // It answers only to its machine's usual names.
            if let Ok(answer) = status.header("host", format!("localhost:{}", address.port())).send().await {
                let status: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
                if until(&status) {
                    stop.send(true).unwrap();
                    break status;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut agent = std::pin::pin!(agent);
    let status = tokio::select! {
        ended = &mut agent => panic!("it ended by itself: {ended:?}"),
        status = tokio::time::timeout(Duration::from_secs(60), ask) => status.expect("no such status"),
    };
    agent.await.unwrap();
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_card_of_another_machine_it_runs_says_so_and_decides_nothing() {
    let _provider = rustls::crypto::ring::default_provider().install_default();
    let folder = Folder::new("daemon");
    let (first, second) = (pi(&folder, "10000000abcd0001"), pi(&folder, "10000000abcd0002"));
    let data = folder.path().join("state");
    std::fs::create_dir_all(&data).unwrap();
    let text = format!(
        "data_dir = \"{0}\"\ncloud_url = \"http://127.0.0.1:9\"\n[camera]\nsource = \"replay:{0}\"\nreader = \"/bin/false\"\n[gate_io]\nsocket = \"{0}/io.sock\"\n",
        data.display()
    );
    let config = Config::parse(&text).unwrap();
    let mut venue = Venue::new();
    drop(venue.gate(&config.database()));
    IdentityFile::of(&venue.identity(), &venue.enrolled(), Hash::ZERO).save(&identity::identity_path(&data)).unwrap();
    identity::device_key_on(&identity::key_path(&data), &first).unwrap();
    let key = std::fs::read(identity::key_path(&data)).unwrap();

    let why = |status: &Value| status["status"]["not_deciding"].as_str().map(str::to_owned);
    // Until its lane has said something the page shows a wait.
    let says = |status: &Value| status["screen"]["kind"] != "wait";
    let other = |status: &Value| why(status).as_deref() == Some("other_machine") && says(status);
    let status = status_on(&config, &second, other).await;
    assert_eq!(
        (status["screen"]["kind"].as_str(), status["screen"]["reason"].as_str()),
        (Some("fault"), Some("lane_fault"))
    );
    assert!(status["status"]["not_deciding_why"].as_str().unwrap().contains("put it back"), "{status}");
    assert_eq!(std::fs::read(identity::key_path(&data)).unwrap(), key, "nothing is overwritten");

    // Put back, it goes on.
    status_on(&config, &first, |status| why(status).is_none() && says(status)).await;
    assert_eq!(std::fs::read(identity::key_path(&data)).unwrap(), key);
}
