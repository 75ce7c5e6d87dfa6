//! Where log lines go and what they look like: standard error, text or JSON, the level from
//! `RUST_LOG`. Both are structured: every message carries its subject in fields.

use std::io;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Begins to log. Called once.
pub fn begin(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        // The journal notes the time itself, but a log file does not.
        LogFormat::Text => lines.with_target(false).with_ansi(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
