//! The page of the files of controllers and of gateways that are told their shares. Its tests hold it to the
//! readers, as those of the site file's page do.

use super::GENERATED;
use super::configuration::Given::{Absent, Default};
use super::configuration::{Table, key, tables};
use super::seal;

pub(super) fn page() -> String {
    let mut page = format!(
        "# The files of controllers and of the gateways beside them\n{GENERATED}\n\
         `gatewayd --config FILE` is what the key `mode` of its file says. Without the key, or with \
         `mode = \"standalone\"`, the file is a [site file](configuration.md), which has all of a gateway's \
         site. With `mode = \"controller\"` gatewayd keeps what operators declare \
         ([resources](resources.md)) and tells gateways their shares of it; with a `[gateway]` it is the \
         gateway of a site as well, in one process. With `mode = \"gateway\"` it is a gateway that a controller \
         tells its share: over the network once `gatewayd join` has made it one, or, with `name` and `site` in \
         `[gateway]`, by a socket of a controller on the same host. `gatewayd --config FILE --check` prints what a file comes to.\n\n\
         A gateway that is told its share has only what its host alone knows in its file: `[gateway]`, \
         `[[lan]]`, `[host]`, `[link]` and `[flows]` with the keys of the site file's, except `relay` and `next` \
         of `[link]`, which the controller decides; and `site` in `[gateway]`. One that has joined has no \
         `private_key_file` either: it makes its keys itself and seals them. It goes on with what it has \
         while no controller answers. One that has joined keeps its share, sealed, and begins with it after a start; one beside its controller \
         has nothing in force before it was first told, other than what is in the kernel still. SIGHUP lets it read its own file again.\n"
    );
    page.push_str(&tables(CONTROLLER, "\n# `mode = \"controller\"`\n"));
    page.push_str(&tables(GATEWAY, "\n# `mode = \"gateway\"`\n"));
    page.push_str(&format!(
        "\n## Example of a controller that is a gateway too\n\n```toml\n{EXAMPLE}```\n"
    ));
    page.push_str(&format!("\n## Example of a gateway beside it\n\n```toml\n{BESIDE}```\n"));
    page
}

const TOLD: Table = Table {
    heading: "[gateway]",
    about: "The gateway that runs by this file.",
    keys: &[
        key(
            "name",
            Absent("whom `gatewayd join` has made it"),
            "\"cloud-gw\"",
            "Its name, as it is declared; required beside a controller, and on its host.",
        ),
        key(
            "site",
            Absent("as with `name`"),
            "\"cloud\"",
            "Its site, as it is declared. Both or neither.",
        ),
        key(
            "instance",
            Default("\"default\""),
            "\"cloud\"",
            "Names the pins and the run directory, so that several gateways can share a host.",
        ),
    ],
};

const CONTROLLER: &[Table] = &[
    Table {
        heading: "[store]",
        about: "Where what is declared is kept.",
        keys: &[
            key(
                "path",
                Default("\"/var/lib/presence/store\""),
                "\"/var/lib/presence/store\"",
                "The store's file, made if there is none. For one controller.",
            ),
            key(
                "most_bytes",
                Default("8589934592"),
                "1073741824",
                "Most bytes that the file may have. A change that needs more is refused.",
            ),
            key(
                "etcd",
                Absent("a file"),
                "[\"http://192.0.2.9:2379\"]",
                "Members of an etcd instead of a file, for several controllers.",
            ),
            key(
                "deployment",
                Absent("required with `etcd`"),
                "\"acme\"",
                "Name of the deployment; its keys in etcd lie below `/presence/NAME/`.",
            ),
            key(
                "most_operations",
                Absent("128"),
                "10000",
                "Most operations of one transaction, as etcd's `--max-txn-ops` has it. A change that needs more is \
                 refused.",
            ),
            key(
                "most_request_bytes",
                Absent("1310720"),
                "10485760",
                "Most bytes of one transaction, a little less than etcd's `--max-request-bytes`.",
            ),
        ],
    },
    Table {
        heading: "[api]",
        about: "Where operators' requests are answered, and whose. Root may do everything.",
        keys: &[
            key(
                "socket",
                Default("\"/run/presence/controller.sock\""),
                "\"/run/presence/controller.sock\"",
                "The socket that `gatewayctl` asks. Its mode is 0660: others than its user need to be in its group.",
            ),
            key(
                "operators",
                Default("[]"),
                "[\"alice\"]",
                "Users that may change things, besides root.",
            ),
            key("readers", Default("[]"), "[\"monitoring\"]", "Users that may look."),
        ],
    },
    Table {
        heading: "[controller]",
        about: "The controller itself.",
        keys: &[
            key(
                "socket",
                Default("\"/run/presence/gateways.sock\""),
                "\"/run/presence/gateways.sock\"",
                "The socket by which gateways of this host are told their shares; for root alone.",
            ),
            key(
                "cooling",
                Default("\"86400s\""),
                "\"2h\"",
                "How long an address that is no longer used is kept from others.",
            ),
            key(
                "listen",
                Absent("only gateways of this host"),
                "[\"0.0.0.0:443\"]",
                "Where gateways of other hosts are served, by UDP and TCP on the same port.",
            ),
            key(
                "advertise",
                Absent("required with `listen`"),
                "[\"controller.example:443\"]",
                "Where gateways reach the deployment's controllers, this and others: HOST or HOST:PORT.",
            ),
            key(
                "name",
                Default("\"main\""),
                "\"east\"",
                "Its name among the deployment's controllers; part of its certificate.",
            ),
            key(
                "certificate_life",
                Default("\"86400s\""),
                "\"12h\"",
                "How long a gateway's certificate holds. It is renewed at half of that.",
            ),
            key(
                "renewal_grace",
                Default("\"2592000s\""),
                "\"7d\"",
                "How long after the end of its certificate a gateway that was away may still come and renew it.",
            ),
            key(
                "lease",
                Default("\"259200s\""),
                "\"24h\"",
                "How long a gateway that hears of no controller goes on with what it has of other sites; `none` for ever.",
            ),
        ],
    },
    seal::CONTROLLER,
    TOLD,
];

const GATEWAY: &[Table] = &[
    Table {
        heading: "[controller]",
        about: "Who tells this gateway its share.",
        keys: &[key(
            "socket",
            Default("\"/run/presence/gateways.sock\""),
            "\"/run/presence/gateways.sock\"",
            "The controller's socket for gateways.",
        )],
    },
    seal::GATEWAY,
    TOLD,
];

const EXAMPLE: &str = r#"mode = "controller"

[store]
path = "/var/lib/presence/store"

[api]
operators = []

[controller]
cooling = "24h"

[seal]
path = "/etc/presence/seal.key"

[gateway]
name = "cloud-gw"
site = "cloud"

[[lan]]
interface = "lan0"
networks = ["10.0.0.0/24"]

[link]
private_key_file = "/etc/presence/link.key"
listen_port = 51820
"#;

const BESIDE: &str = r#"mode = "gateway"

[controller]
socket = "/run/presence/gateways.sock"

[seal]
kind = "credential"
credential = "presence-seal"

[gateway]
name = "edge-a-gw"
site = "edge-a"
instance = "edge-a"

[[lan]]
interface = "lan1"
networks = ["10.0.0.0/24"]

[link]
interface = "presence-a"
private_key_file = "/etc/presence/edge-a.key"
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::Role;

    fn read(text: &str) -> Result<Role, String> {
        Role::parse(Path::new("x.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_examples_are_read() {
        for text in [EXAMPLE, BESIDE] {
            let role = read(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert!(role.told().is_some());
        }
    }

    #[test]
    fn every_default_is_the_readers() {
        let gateway = &EXAMPLE[EXAMPLE.find("[gateway]").unwrap()..];
        let network = "[controller]\nlisten = [\"0.0.0.0:443\"]\nadvertise = [\"c.example:443\"]\n";
        for (mode, more, tables) in [("controller", network, CONTROLLER), ("gateway", "", GATEWAY)]
        {
            let role = read(&format!("mode = \"{mode}\"\n{more}{gateway}")).unwrap();
            let effective: toml::Table = role.effective().parse().unwrap();
            for table in tables {
                for key in table.keys {
                    let Default(default) = key.default else { continue };
                    let default = format!("it = {default}").parse::<toml::Table>().unwrap();
                    let found = &effective[table.heading.trim_matches(['[', ']'])];
                    assert_eq!(
                        found.get(key.name),
                        default.get("it"),
                        "{} {}",
                        table.heading,
                        key.name
                    );
                }
            }
        }
    }

    /// The readers answer an unknown key with the list of those they know.
    #[test]
    fn the_keys_are_those_that_the_readers_know() {
        for (text, tables) in [(EXAMPLE, CONTROLLER), (BESIDE, GATEWAY)] {
            for table in tables {
                let heading = format!("{}\n", table.heading);
                assert!(text.contains(&heading), "{heading}");
                let probe = text.replacen(&heading, &format!("{heading}no_such_key = 1\n"), 1);
                let answer = read(&probe).unwrap_err();
                assert!(answer.contains("unknown field `no_such_key`"), "{answer}");
                let line = answer.lines().find(|line| line.contains("unknown field")).unwrap();
                let known: BTreeSet<&str> = line.split('`').skip(3).step_by(2).collect();
                // Of a single key the reader says nothing but that.
                let told: BTreeSet<&str> = table.keys.iter().map(|key| key.name).collect();
                assert_eq!(told, known, "{}: {line}", table.heading);
            }
        }
    }
}
