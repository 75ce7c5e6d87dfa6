//! The measuring program of `cargo xtask bench`, on the host and inside a guest. A line of JSON goes out
//! for each row, after the word `row`; lines that begin with `#` say what went into it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use vm_tests::bench::budget::Budget;
use vm_tests::bench::{
    Row, compile, control, established, memory, opened, path, programs, refused, store,
};

/// Measures some rows.
#[derive(Parser)]
struct Arguments {
    /// Groups of rows: programs, established, stages, scale, memory, path, opened, refused, policies,
    /// compile, store, control.
    groups: Vec<String>,
}

fn main() -> ExitCode {
    let mut failed = false;
    for group in Arguments::parse().groups {
        match measure(&group).and_then(|rows| show(&rows)) {
            Ok(()) => {}
            Err(error) => {
                println!("# {group} could not be measured: {error:#}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn measure(group: &str) -> Result<Vec<Row>> {
    match group {
        "programs" => programs::rows(&Budget::read()?),
        "established" => established::established(),
        "stages" => established::stages(),
        "scale" => established::scale(),
        "memory" => memory::rows(),
        "path" => path::rows(),
        "opened" => opened::rows(),
        "refused" => refused::rows(),
        "policies" => compile::policies_row(),
        "compile" => compile::rows(),
        "store" => store::rows(),
        "control" => control::rows(),
        "gateways" => control::gateways(),
        "bare" => control::bare(),
        part if control::PARTS.contains(&part) => control::part(part),
        "whole" | "tenth" => compile::process(group),
        other => anyhow::bail!("there is no group {other}"),
    }
}

fn show(rows: &[Row]) -> Result<()> {
    for row in rows {
        println!("row {}", serde_json::to_string(row).context("write a row")?);
    }
    Ok(())
}
