//! D2: what the verifier and the compiler in the kernel make of each program, as counts.

use anyhow::{Context, Result};
use aya::programs::ProgramInfo;
use gateway_dataplane::Program;

use super::budget::{Budget, Cost};
use super::stand::Stand;
use super::{Row, goals};

/// What each program costs in the running kernel.
pub fn costs() -> Result<Vec<(Program, Cost)>> {
    Stand::new("d2")?.run(|loaded| {
        Program::ALL
            .iter()
            .map(|program| {
                let info = ProgramInfo::from_pin(loaded.pin("programs", program.name()))
                    .with_context(|| format!("ask the kernel about {program}"))?;
                // Linux 5.16, commit aba64c7da983.
                let verified = info
                    .verified_instruction_count()
                    .with_context(|| format!("the kernel does not tell what {program} cost"))?;
                Ok((*program, Cost { verified, jited: info.size_jitted() }))
            })
            .collect()
    })
}

/// Measures D2, with two rows more for each program.
pub fn rows(budget: &Budget) -> Result<Vec<Row>> {
    let kernel = super::budget::kernel()?;
    let mut rows = Vec::new();
    let mut worst: f64 = 0.0;
    for (program, cost) in costs()? {
        let line = budget.line(&kernel, program.name())?;
        for (what, ours, limit) in [
            ("verified instructions", cost.verified, line.verified),
            ("jited octets", cost.jited, line.jited),
        ] {
            worst = worst.max(f64::from(ours) / f64::from(limit));
            let goal = goals::COST.measured(f64::from(ours), f64::from(limit));
            rows.push(Row {
                id: format!("D2.{program}.{}", what.split(' ').next().unwrap_or(what)),
                metric: format!("{what} of {program}"),
                unit: what.to_owned(),
                ..goal
            });
        }
    }
    rows.insert(0, goals::COST.measured(worst, 1.0));
    Ok(rows)
}
