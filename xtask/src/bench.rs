//! `cargo xtask bench`: figures of the data path and the control plane, each beside what it is compared with.
//!
//! The program `bench` of `vm-tests` measures: some groups of rows on this host, the others in a guest
//! whose clock counts instructions. Here its rows are collected, shown and written.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::artifacts::Artifacts;
use crate::guest::{self, Kernel, Table};
use crate::process::{self, Ending};
use crate::setup::{self, Need};
use crate::sites;

/// Where a group of rows is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Guest,
}

/// Groups of rows that are measured together, in the order in which they are shown.
const GROUPS: [(&str, Place, &[&str]); 12] = [
    ("stages", Place::Guest, &[]),
    ("established", Place::Host, &["D1"]),
    ("programs", Place::Host, &["D2"]),
    ("path", Place::Guest, &["D3", "D4", "D5", "D6", "D6b", "D6c"]),
    ("refused", Place::Host, &["D7", "D7b"]),
    ("opened", Place::Guest, &["D8", "D8b"]),
    ("scale", Place::Host, &["D9", "D9b"]),
    ("memory", Place::Host, &["D10", "D10b", "D10c"]),
    ("policies", Place::Host, &["C4"]),
    ("compile", Place::Host, &["C6", "C6b", "C6c", "C6d", "C6e", "C6f"]),
    ("control", Place::Host, &["C1", "C1b", "C2", "C2b", "C3", "C5"]),
    ("store", Place::Host, &["C7", "C7b", "C7c", "C7d", "C8", "C8b", "C8c", "C8d"]),
];

/// What a line of the measuring program that holds a row begins with.
const ROW: &str = "row ";

/// The bound on all groups that are measured on the host.
const BOUND: Duration = Duration::from_secs(15 * 60);

/// Measures the rows or groups named, or all; `false` if one could not be measured. A goal that is
/// missed is a figure like any other. Instructions are counted in the guest of `kernel`, or in that which
/// `kernels.toml` names for it.
pub(crate) fn run(
    workspace: &Path,
    names: &[String],
    kernel: Option<&str>,
    json: Option<&Path>,
) -> Result<bool> {
    let wanted = select(names)?;
    let guests = Table::read(workspace)?;
    let kernel = guests.kernel(kernel.unwrap_or(&guests.measured))?;
    if !setup::is_root()? {
        bail!("the benchmarks load programs and make namespaces: sudo -E cargo xtask bench");
    }
    setup::ensure(workspace, &[Need::KernelHalf, Need::Guests, Need::Bench])?;
    let artifacts = sites::build(workspace)?;
    let mut rows = Vec::new();
    let mut whole = true;
    for place in [Place::Host, Place::Guest] {
        let groups: Vec<&str> =
            wanted.iter().filter(|(_, at)| *at == place).map(|(group, _)| *group).collect();
        if groups.is_empty() {
            continue;
        }
        let measured = match place {
            Place::Host => on_host(&artifacts, &groups),
            Place::Guest => in_guest(workspace, &guests, kernel, &artifacts, &groups),
        };
        match measured {
            Ok((measured, complete)) => {
                rows.extend(measured);
                whole &= complete;
            }
            Err(error) => {
                println!("{} could not be measured: {error:#}", groups.join(", "));
                whole = false;
            }
        }
    }
    rows.sort_by_key(|row| place_in_order(row["id"].as_str().unwrap_or_default()));
    print!("\n{}", table(&rows));
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(file, text).with_context(|| format!("{}", file.display()))?;
    }
    Ok(whole && !rows.is_empty())
}

fn select(names: &[String]) -> Result<Vec<(&'static str, Place)>> {
    let named = |group: &str, rows: &[&str], name: &String| {
        name == group || rows.iter().any(|row| row.eq_ignore_ascii_case(name))
    };
    if let Some(unknown) =
        names.iter().find(|name| !GROUPS.iter().any(|(group, _, rows)| named(group, rows, name)))
    {
        let known: Vec<&str> =
            GROUPS.iter().flat_map(|(_, _, rows)| rows.iter().copied()).collect();
        bail!("no row {unknown}; there are {}", known.join(", "));
    }
    Ok(GROUPS
        .iter()
        .filter(|(group, _, rows)| {
            names.is_empty() || names.iter().any(|name| named(group, rows, name))
        })
        .map(|(group, place, _)| (*group, *place))
        .collect())
}

fn on_host(artifacts: &Artifacts, groups: &[&str]) -> Result<(Vec<Value>, bool)> {
    let mut command = Command::new(artifacts.binary("bench")?);
    let (ending, output) = process::show(command.args(groups), BOUND)?;
    Ok((rows(&output)?, matches!(ending, Ending::Exited(status) if status.success())))
}

fn in_guest(
    workspace: &Path,
    guests: &Table,
    kernel: &Kernel,
    artifacts: &Artifacts,
    groups: &[&str],
) -> Result<(Vec<Value>, bool)> {
    let command = [&["bench"], groups].concat();
    let (output, good) = guest::measure(workspace, guests, kernel, artifacts, &command)?;
    Ok((rows(&output)?, good))
}

fn rows(output: &str) -> Result<Vec<Value>> {
    output
        .lines()
        .filter_map(|line| line.strip_prefix(ROW))
        .map(|row| serde_json::from_str(row).with_context(|| format!("a row: {row}")))
        .collect()
}

/// The data path before the control plane, D2 before D10, and what has more letters after what has fewer.
fn place_in_order(id: &str) -> (bool, u32, String) {
    let digits: String =
        id.chars().skip_while(char::is_ascii_alphabetic).take_while(char::is_ascii_digit).collect();
    (!id.starts_with('D'), digits.parse().unwrap_or(u32::MAX), id.to_owned())
}

fn table(rows: &[Value]) -> String {
    let mut lines =
        vec![["", "metric", "ours", "peer or limit", "", "ratio", "goal"].map(str::to_owned)];
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| row[key].as_f64().map_or_else(|| "-".to_owned(), figure);
        let goal = |key: &str, met: &str| {
            let mark = match row[met].as_bool() {
                Some(true) => " met",
                Some(false) => " missed",
                None => "",
            };
            row[key].as_f64().map(|goal| format!("{goal}{mark}"))
        };
        let goals: Vec<String> =
            [goal("first", "met_first"), goal("then", "met_then")].into_iter().flatten().collect();
        lines.push([
            text("id"),
            format!("{} ({})", text("metric"), text("unit")),
            number("ours"),
            text("peer_name"),
            number("peer"),
            row["ratio"].as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")),
            goals.join(", "),
        ]);
    }
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut shown = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        // Writing to a string does not fail.
        let _ = writeln!(shown, "{}", cells.join("  ").trim_end());
    }
    shown
}

/// Four digits that count.
fn figure(number: f64) -> String {
    let decimals = match number.abs() {
        large if large >= 1000.0 => 0,
        hundreds if hundreds >= 100.0 => 1,
        tens if tens >= 10.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_groups_are_selected_by_name() {
        let groups = |names: &[&str]| -> Vec<&str> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            select(&names).unwrap().into_iter().map(|(group, _)| group).collect()
        };
        assert_eq!(groups(&["d6b", "D1"]), ["established", "path"]);
        assert_eq!(groups(&["memory"]), ["memory"]);
        assert_eq!(groups(&[]).len(), GROUPS.len());
        assert!(select(&["D99".to_owned()]).unwrap_err().to_string().contains("D99"));
    }

    #[test]
    fn rows_are_taken_from_the_output_and_shown() {
        let output = "# words\nrow {\"id\":\"D10\",\"ours\":128.0,\"ratio\":0.5,\"first\":0.9,\"met_first\":true}\n\
                      row {\"id\":\"C4\"}\nrow {\"id\":\"D2\",\"ours\":null}\n";
        let mut rows = rows(output).unwrap();
        rows.sort_by_key(|row| place_in_order(row["id"].as_str().unwrap()));
        let table = table(&rows);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with("D2 ") && lines[2].starts_with("D10"), "{table}");
        assert!(lines[3].starts_with("C4"), "{table}");
        assert!(lines[2].contains("128.0") && lines[2].ends_with("0.9 met"), "{table}");
    }
}
