//! Notices that a network came back, so that nobody sits out a pause that was meant for a dead one.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::Wake;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(2);

/// Wakes sync whenever an interface gets its carrier or a default route appears, until dropped.
pub async fn watch(wake: &Wake) {
    let (interfaces, routes) = (Path::new("/sys/class/net"), Path::new("/proc/net/route"));
    let mut before = roads(interfaces, routes);
    loop {
        tokio::time::sleep(EVERY).await;
        let after = roads(interfaces, routes);
        if after.difference(&before).next().is_some() {
            tracing::debug!("a network came up");
            wake.link_up();
        }
        before = after;
    }
}

/// The interfaces that have a carrier, and the default routes.
fn roads(interfaces: &Path, routes: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(interfaces).into_iter().flatten().flatten() {
        let state = std::fs::read_to_string(entry.path().join("operstate")).unwrap_or_default();
        if state.trim() == "up" {
            found.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let table = std::fs::read_to_string(routes).unwrap_or_default();
    for line in table.lines().skip(1) {
        // Interface, destination, gateway, ...; the destination of a default route is zero.
        let mut words = line.split_whitespace();
        if let (Some(interface), Some("00000000"), Some(gateway)) = (words.next(), words.next(), words.next()) {
            found.insert(format!("{interface} by {gateway}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::Folder;

    #[test]
    fn a_carrier_and_a_default_route_are_roads_and_nothing_else_is() {
        let folder = Folder::new("carrier");
        let (net, routes) = (folder.path().join("net"), folder.path().join("route"));
        let head = "Iface\tDestination\tGateway\tFlags\n";
        for (name, state) in [("eth0", "up\n"), ("wwan0", "down\n"), ("lo", "unknown\n")] {
            std::fs::create_dir_all(net.join(name)).unwrap();
            std::fs::write(net.join(name).join("operstate"), state).unwrap();
        }
        std::fs::write(&routes, format!("{head}eth0\t0000A8C0\t00000000\t0001\n")).unwrap();
        let before = roads(&net, &routes);
        assert_eq!(before, BTreeSet::from(["eth0".to_owned()]));
        std::fs::write(net.join("wwan0/operstate"), "up\n").unwrap();
        std::fs::write(&routes, format!("{head}wwan0\t00000000\t0101A8C0\t0003\n")).unwrap();
        let after = roads(&net, &routes);
        let news: Vec<_> = after.difference(&before).cloned().collect();
        assert_eq!(news, ["wwan0", "wwan0 by 0101A8C0"]);
        assert!(roads(Path::new("/nowhere"), Path::new("/nowhere")).is_empty());
    }
}
