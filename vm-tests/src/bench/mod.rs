//! The benchmarks: what the data path and the control plane cost, beside what else could do the same in the same
//! run.
//!
//! `cargo xtask bench` runs the program `bench` on the host and in a guest whose clock counts
//! instructions; each of the modules here measures a few rows of `docs/benchmarks.md`. Figures are ratios
//! of what was measured side by side, or counts; none is an absolute time to be held to.

pub mod assembly;
pub mod bare;
pub mod budget;
pub mod compile;
pub mod control;
pub mod declared;
pub mod established;
pub mod etcd;
pub mod goals;
pub mod loads;
pub mod memory;
pub mod opened;
pub mod path;
pub mod peer;
pub mod programs;
pub mod refused;
pub mod stand;
pub mod store;
pub mod wires;

use serde::{Deserialize, Serialize};

/// A measured figure with what it is compared to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The row's name.
    pub id: String,
    /// What was measured.
    pub metric: String,
    /// In what.
    pub unit: String,
    /// Ours.
    pub ours: Option<f64>,
    /// What it is compared to.
    pub peer_name: String,
    /// The figure of that.
    pub peer: Option<f64>,
    /// Ours by the peer's.
    pub ratio: Option<f64>,
    /// The ratio to reach first.
    pub first: Option<f64>,
    /// The ratio to reach then.
    pub then: Option<f64>,
    /// Whether the first is reached.
    pub met_first: Option<bool>,
    /// Whether the second is.
    pub met_then: Option<bool>,
}

/// The middle of what was measured; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The value below which `percent` of what was measured lies; 0 of nothing.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(median(&values), 3.0);
        assert_eq!(percentile(&values, 10), 1.0);
        assert_eq!(percentile(&values, 100), 5.0);
        assert_eq!(median(&[]), 0.0);
    }
}
