//! The promises of every lines backend, on whatever is at hand.

use std::path::PathBuf;

use hardware::contract::{Blind, Probe, Verdict, check};
use hardware::gate_io::HandConfig;
use hardware::lines::simulated::{Board, ReleaseModel};
use hardware::lines::{Input, LinesAddress, Output};

use crate::skipped;

/// Looks at the terminal block of a simulated board.
struct OnBoard<'a>(&'a Board);

impl Probe for OnBoard<'_> {
    fn output(&self, output: Output) -> Option<bool> {
        self.0.level(output.name())
    }

    fn drive(&self, input: Input, level: bool) -> bool {
        self.0.drive(input.name(), level);
        true
    }
}

fn wirings() -> [(&'static str, HandConfig); 3] {
    let plain = HandConfig::example();
    let mut inverted = HandConfig::example();
    inverted.outputs.relay.active_low = true;
    inverted.outputs.green.active_low = true;
    for input in [&mut inverted.inputs.fire, &mut inverted.inputs.tamper] {
        input.as_mut().unwrap().active_low = true;
    }
    let mut fail_safe = HandConfig::example();
    fail_safe.outputs.relay.safe = true;
    fail_safe.inputs.presence = None;
    [("plain", plain), ("active low", inverted), ("fail-safe", fail_safe)]
}

#[test]
fn the_simulated_board_keeps_every_promise() {
    for model in [ReleaseModel::Strict, ReleaseModel::Persist] {
        for (name, config) in wirings() {
            let folder = tempfile::tempdir().unwrap();
            let board = Board::listen(&folder.path().join("board"), model, None).unwrap();
            let address = LinesAddress::Simulated(board.socket().to_owned());
            let verdict = check(&address, &config, &OnBoard(&board));
            assert!(verdict.broken.is_empty(), "{model:?}, {name}: {:?}", verdict.broken);
            assert!(verdict.unseen.is_empty(), "{model:?}, {name}: {:?}", verdict.unseen);
            assert_eq!(verdict.kept.len(), 7, "{:?}", verdict.kept);
            let edges = board.edges();
            let lit = |name: &str| config_level(&config, name);
            assert!(never_together(&edges, lit("red"), lit("green")), "{model:?}, {name}: red and green at once");
        }
    }
}

/// The wire level at which a lamp is lit.
fn config_level(config: &HandConfig, name: &str) -> bool {
    let output = Output::ALL.into_iter().find(|output| output.name() == name).unwrap();
    !config.output(output).active_low
}

fn never_together(edges: &[hardware::lines::simulated::Edge], red_lit: bool, green_lit: bool) -> bool {
    let (mut red, mut green) = (!red_lit, !green_lit);
    edges.iter().all(|edge| {
        match edge.line.as_str() {
            "red" => red = edge.level,
            "green" => green = edge.level,
            _ => {}
        }
        !(red == red_lit && green == green_lit)
    })
}

#[test]
fn a_broken_promise_is_noticed() {
    struct Wrong;
    impl Probe for Wrong {
        fn output(&self, output: Output) -> Option<bool> {
            Some(output == Output::Yellow)
        }
        fn drive(&self, _: Input, _: bool) -> bool {
            false
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let board = Board::listen(&folder.path().join("board"), ReleaseModel::Strict, None).unwrap();
    let address = LinesAddress::Simulated(board.socket().to_owned());
    let Verdict { broken, .. } = check(&address, &HandConfig::example(), &Wrong);
    assert_eq!(broken.len(), 2, "{broken:?}");
    let nobody = LinesAddress::Simulated(folder.path().join("nobody"));
    assert_eq!(check(&nobody, &HandConfig::example(), &Blind).broken.len(), 1);
}

/// Real lines are driven only where somebody says that nothing is wired to them:
/// `GATE_CONTRACT_LINES=chardev:/dev/gpiochip1` or `=rppal`, `GATE_CONTRACT_CONFIG=FILE`.
#[test]
fn real_lines_keep_every_promise() {
    let Ok(address) = std::env::var("GATE_CONTRACT_LINES") else {
        let chips: Vec<PathBuf> = std::fs::read_dir("/dev")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().starts_with("/dev/gpiochip"))
            .collect();
        skipped(&if chips.is_empty() {
            "no /dev/gpiochip*".to_owned()
        } else {
            format!("{chips:?} may be wired to something; name one in GATE_CONTRACT_LINES")
        });
        return;
    };
    let config = match std::env::var_os("GATE_CONTRACT_CONFIG") {
        Some(path) => HandConfig::read(path.as_ref()).unwrap(),
        None => HandConfig::example(),
    };
    let verdict = check(&address.parse().unwrap(), &config, &Blind);
    assert!(verdict.broken.is_empty(), "{:?}", verdict.broken);
    for promise in verdict.unseen {
        skipped(&format!("{promise}: nobody looks at the wires"));
    }
}
