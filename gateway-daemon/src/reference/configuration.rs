//! The page of the site file. Its tests hold it to the parser: no key is left out or made up, every
//! default is the parser's own, and the example is read.

mod keys;

use Given::{Absent, Default, Required};
use keys::TABLES;

use super::{GENERATED, cell};

pub(super) fn page() -> String {
    let mut page = format!(
        "# The site file\n{GENERATED}\n\
         One TOML file for each gateway that has all of its site from it, named by `gatewayd --config FILE`; what a \
         [controller](roles.md) tells its gateways comes from elsewhere. `gatewayd --config \
         FILE --check` prints what it comes to, every default filled in. Unknown keys are errors. \
         The order of tables does not matter, that of `networks` does: it fixes which transit \
         address each client has, in the order of the `[[lan]]` tables.\n\n\
         Names of sites, services, gateways, instances and rules are DNS labels: 1 to 63 lower-case \
         letters, digits and inner hyphens. Durations are a number and `s`, `m` or `h`.\n"
    );
    page.push_str(&tables(TABLES, ""));
    page.push_str(&format!("\n## Example\n\n```toml\n{EXAMPLE}```\n"));
    page
}

/// Tables of a file, under a heading of their own.
pub(super) fn tables(tables: &[Table], heading: &str) -> String {
    let mut text = heading.to_owned();
    for table in tables {
        text.push_str(&format!("\n## {}\n\n{}\n\n", table.heading, table.about));
        text.push_str("| key | default | meaning | example |\n|---|---|---|---|\n");
        for key in table.keys {
            let default = match key.default {
                Required => "required".to_owned(),
                Default(value) => format!("`{value}`"),
                Absent(meaning) => meaning.to_owned(),
            };
            let (meaning, example) = (cell(key.meaning), cell(key.example));
            text.push_str(&format!("| `{}` | {default} | {meaning} | `{example}` |\n", key.name));
        }
    }
    text
}

/// A table of a file.
pub(super) struct Table {
    pub(super) heading: &'static str,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
}

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) default: Given,
    pub(super) meaning: &'static str,
    pub(super) example: &'static str,
}

/// A key of a table, as both pages list them.
pub(super) const fn key(
    name: &'static str,
    default: Given,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, default, meaning, example }
}

/// What holds if a key is left out.
#[derive(Clone, Copy)]
pub(super) enum Given {
    /// It may not be.
    Required,
    /// This value, written as in a file.
    Default(&'static str),
    /// What these words say.
    Absent(&'static str),
}

const EXAMPLE: &str = r#"[gateway]
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
private_key_file = "/etc/presence/link.key"

[[peer]]
site = "cloud"
public_key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
endpoint = "192.0.2.1:51820"
reaches = ["edge-b"]

[[remote_site]]
name = "cloud"
transit = "240.0.0.0/20"

[[remote_site]]
name = "edge-b"
transit = "240.0.32.0/20"

[[service]]
name = "rabbitmq"
site = "cloud"
number = 1
ports = ["tcp/5672", "icmp-echo"]
presence = "10.0.0.200"

[[service]]
name = "agent"
site = "edge-a"
number = 1
ports = ["tcp/80->8080"]
backend = "10.0.0.10"

[[allow]]
id = "edge-a-rabbitmq"
from = "edge-a"
clients = ["10.0.0.5/32"]
to = "rabbitmq.cloud"

[[allow]]
id = "cloud-agent"
from = "cloud"
to = "agent.edge-a"
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_control::site_file::parse;

    use super::*;

    #[test]
    fn the_example_is_read() {
        if let Err(error) = parse(EXAMPLE) {
            panic!("{error}");
        }
    }

    #[test]
    fn every_default_is_the_parsers() {
        let relayed = "[[remote_site]]\nname = \"edge-b\"\ntransit = \"240.0.32.0/20\"\n";
        let small = EXAMPLE.replace("reaches = [\"edge-b\"]\n", "").replace(relayed, "");
        let effective: toml::Table = parse(&small).unwrap().to_string().parse().unwrap();
        for table in TABLES {
            for key in table.keys {
                let Default(default) = key.default else { continue };
                let default = format!("it = {default}").parse::<toml::Table>().unwrap();
                let tables = tables_at(&effective, table.heading);
                assert!(!tables.is_empty(), "{}", table.heading);
                let found = tables.iter().any(|found| found.get(key.name) == default.get("it"));
                assert!(found, "{} {}: {tables:?}", table.heading, key.name);
            }
        }
    }

    /// The parser answers an unknown key with the list of those it knows.
    #[test]
    fn the_keys_are_those_that_the_parser_knows() {
        for table in TABLES {
            let probe = match table.heading {
                "Top level" => format!("no_such_key = 1\n{EXAMPLE}"),
                heading => format!("{EXAMPLE}\n{heading}\nno_such_key = 1\n"),
            };
            let once = probe.replacen(&format!("{}\n", table.heading), "\u{0}", 1);
            let probe = if table.heading.starts_with("[[") || !once.contains(table.heading) {
                probe
            } else {
                // A table that the example has already: the unknown key goes into it.
                let first = format!("{}\nno_such_key = 1\n", table.heading);
                EXAMPLE.replacen(&format!("{}\n", table.heading), &first, 1)
            };
            let answer = parse(&probe).unwrap_err().to_string();
            assert!(answer.contains("unknown field `no_such_key`"), "{answer}\n{probe}");
            let line = answer.lines().next().unwrap();
            let known: BTreeSet<&str> = line.split('`').skip(3).step_by(2).collect();
            let mut told: BTreeSet<&str> = table.keys.iter().map(|key| key.name).collect();
            if table.heading == "Top level" {
                told.extend(
                    TABLES
                        .iter()
                        .map(|table| table.heading.trim_matches(['[', ']']))
                        .filter(|name| !name.contains(['.', ' '])),
                );
            }
            assert_eq!(told, known, "{}", table.heading);
        }
    }

    fn tables_at<'a>(root: &'a toml::Table, heading: &str) -> Vec<&'a toml::Table> {
        let name = heading.trim_matches(['[', ']']);
        if name.contains(' ') {
            return vec![root];
        }
        let mut tables = vec![root];
        for part in name.split('.') {
            tables = tables
                .into_iter()
                .flat_map(|table| match table.get(part) {
                    Some(toml::Value::Table(inner)) => vec![inner],
                    Some(toml::Value::Array(inner)) => {
                        inner.iter().filter_map(toml::Value::as_table).collect()
                    }
                    _ => Vec::new(),
                })
                .collect();
        }
        tables
    }
}
