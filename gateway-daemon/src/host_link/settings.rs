//! What in the host's settings would drop packets on their way to or from its own end of the data path.
//! Only told, never changed: they are the operator's.

use std::fs;

use gateway_control::model::SiteModel;

/// Tells each setting that is in the way, with the remedy.
pub(super) fn warn(model: &SiteModel, near: &str) {
    for obstacle in obstacles(model, near, read) {
        tracing::warn!("{obstacle}");
    }
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()
}

/// What `setting` says, read by name.
fn obstacles(
    model: &SiteModel,
    near: &str,
    setting: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    let is_off = |name: &str| setting(name).is_some_and(|value| value.trim() == "0");
    let Some(host) = model.host() else { return found };
    let forwarding = format!("net/ipv4/conf/{near}/forwarding").replace('/', ".");
    if !host.networks.is_empty() && (is_off("net.ipv4.ip_forward") || is_off(&forwarding)) {
        let networks: Vec<_> = host.networks.iter().map(ToString::to_string).collect();
        found.push(format!(
            "host.networks: this host does not forward packets, so {} cannot use presences nor \
             serve; set net.ipv4.ip_forward=1 and {forwarding}=1",
            networks.join(", ")
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_link::tests::model;

    #[test]
    fn a_host_that_does_not_forward_is_told_so_only_where_it_matters() {
        let off = |_: &str| Some("0\n".to_owned());
        let on = |_: &str| Some("1\n".to_owned());
        let routes = model("[host]\nnetworks = [\"172.17.0.0/24\"]");
        let told = obstacles(&routes, "presence0", off);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("172.17.0.0/24") && told[0].contains("ip_forward=1"), "{told:?}");
        assert!(obstacles(&routes, "presence0", on).is_empty());
        assert!(obstacles(&model("[host]"), "presence0", off).is_empty());
        assert!(obstacles(&model(""), "presence0", off).is_empty());
    }
}
