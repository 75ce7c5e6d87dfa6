//! A small site for the tests of the answers: what it declares, and the tables that come of it.

use gateway_common::desired::Tables;
use gateway_control::model::SiteModel;
use gateway_control::{Interface, compile, site_file};

/// Index of the LAN interface.
pub(super) const LAN: u32 = 2;
/// Index of the link device.
pub(super) const LINK: u32 = 3;

const SITE: &str = r#"
[gateway]
name = "edge-a-gw"

[site]
name = "edge-a"
transit = "240.0.16.0/20"
presence_pool = "10.0.0.192/26"
client_presence = "10.0.0.250"

[[lan]]
interface = "lan0"
networks = ["10.0.0.0/24"]

[link]
private_key_file = "link.key"

[[peer]]
site = "cloud"
public_key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
endpoint = "192.0.2.1:51820"
reaches = ["edge-b"]

[[remote_site]]
name = "cloud"
transit = "240.0.0.0/20"
client_networks = ["10.0.0.0/24"]

[[remote_site]]
name = "edge-b"
transit = "240.0.32.0/20"

[[service]]
name = "rabbitmq"
site = "cloud"
number = 1
ports = ["udp/5000-5999", "tcp/5672", "tcp/80->8080", "icmp-echo", "ip/47", "tcp/81-82"]
presence = "10.0.0.200"

[[service]]
name = "agent"
site = "edge-a"
number = 1
ports = ["tcp/*"]
backend = "10.0.0.10"

[[allow]]
id = "edge-a-rabbitmq"
from = "edge-a"
clients = ["10.0.0.5/32"]
to = "rabbitmq.cloud"
"#;

/// What the site declares.
pub(super) fn model() -> SiteModel {
    site_file::parse(SITE).unwrap_or_else(|error| panic!("{error}"))
}

/// Its tables.
pub(super) fn tables() -> Tables {
    let interface = |name: &str, index| {
        (name.parse().unwrap(), Interface { index, mac: [2, 0, 0, 0, 0, 1], mtu: 1420 })
    };
    let interfaces = [interface("lan0", LAN), interface("presence", LINK)].into();
    compile(&model(), &interfaces).unwrap()
}
