//! The table `[seal]`, which controllers and gateways that are told their shares have alike.

use super::configuration::Given::{self, Absent, Default};
use super::configuration::{Key, Table};

pub(super) const CONTROLLER: Table = table(&keys(
    "\"/var/lib/presence/controller\"",
    "Directory of the controller's sealed files, made if there is none. For root alone: mode 0700.",
));
pub(super) const GATEWAY: Table = table(&keys(
    "\"/var/lib/presence/gateway-default\"",
    "Directory of the gateway's sealed files, made if there is none. For root alone: mode 0700. `default` is the \
     name of the instance.",
));

const fn table(keys: &'static [Key]) -> Table {
    Table {
        heading: "[seal]",
        about: "What keys and state on the disk are sealed with; see [sealing](../operating/sealing.md).",
        keys,
    }
}

const fn keys(directory: &'static str, about_directory: &'static str) -> [Key; 5] {
    [
        key("directory", Default(directory), "\"/srv/presence\"", about_directory),
        key(
            "kind",
            Default("\"file\""),
            "\"credential\"",
            "With what: `file`, the content of a key file; `passphrase`; `credential`, one that systemd gives.",
        ),
        key(
            "path",
            Default("\"/etc/presence/seal.key\""),
            "\"/media/key/presence\"",
            "The key file, of 32 to 4096 octets, made if there is nothing sealed yet; or the file whose first line is \
             the passphrase, which has no default. For root alone: mode 0600.",
        ),
        key(
            "descriptor",
            Absent("`path`"),
            "0",
            "Number of the open descriptor whose first line is the passphrase.",
        ),
        key(
            "credential",
            Absent("required with `kind = \"credential\"`"),
            "\"presence-seal\"",
            "Name of the credential, of 32 to 4096 octets.",
        ),
    ]
}

const fn key(
    name: &'static str,
    default: Given,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, default, meaning, example }
}
