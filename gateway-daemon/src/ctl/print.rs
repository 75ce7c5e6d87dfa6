//! The one way out for answers: as tables for people, as JSON or YAML for programs, which are two
//! writings of the same fields. Used by every command that answers.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;

use comfy_table::{Table, presets};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::arguments::Form;

/// An answer of `gatewayctl`.
pub(crate) trait Answer: Serialize {
    /// The answer for people, with a line break at its end.
    fn text(&self) -> String;
}

/// Prints an answer on standard output.
pub(crate) fn print(answer: &impl Answer, form: Form) -> io::Result<()> {
    let text = match form {
        Form::Table => answer.text(),
        Form::Json => serde_json::to_string_pretty(answer)? + "\n",
        Form::Yaml => yaml(answer)?,
    };
    say(&text)
}

/// One of the answers that come one after the other.
pub(crate) trait Line: Serialize {
    /// Its columns for people, each with the width that most of its cells fit into.
    const COLUMNS: &'static [(&'static str, usize)];

    /// Its cells, as many as there are columns.
    fn cells(&self) -> Vec<String>;
}

/// Answers printed as they come about: rows of a table, JSON objects a line each, YAML documents.
#[derive(Debug)]
pub(crate) struct Feed {
    form: Form,
}

impl Feed {
    /// A feed of this form.
    pub(crate) fn new(form: Form) -> Self {
        Self { form }
    }

    /// Prints what stands above all rows of a table; nothing in other forms.
    pub(crate) fn heading<L: Line>(&self) -> io::Result<ControlFlow<()>> {
        match self.form {
            Form::Table => {
                put(row::<L>(L::COLUMNS.iter().map(|(name, _)| name.to_uppercase())).as_bytes())
            }
            Form::Json | Form::Yaml => Ok(ControlFlow::Continue(())),
        }
    }

    /// Prints one; break if nobody reads any more.
    pub(crate) fn put<L: Line>(&self, line: &L) -> io::Result<ControlFlow<()>> {
        let text = match self.form {
            Form::Table => row::<L>(line.cells()),
            Form::Json => serde_json::to_string(line)? + "\n",
            Form::Yaml => format!("---\n{}", yaml(line)?),
        };
        put(text.as_bytes())
    }
}

/// Whether anybody may still read standard output: not if it is a pipe whose reader is gone.
pub(crate) fn is_anybody_reading() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(_) => polled[0].revents().is_none_or(|events| {
            !events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL)
        }),
        Err(_) => true,
    }
}

fn row<L: Line>(cells: impl IntoIterator<Item = String>) -> String {
    padded(cells.into_iter().zip(L::COLUMNS.iter().map(|(_, width)| *width)))
}

/// Cells with the widths of their columns, on a line.
pub(crate) fn padded(cells: impl IntoIterator<Item = (String, usize)>) -> String {
    let padded = cells.into_iter().map(|(cell, width)| format!("{cell:<width$}  "));
    padded.collect::<String>().trim_end().to_owned() + "\n"
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn put(text: &[u8]) -> io::Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}

/// Writes the last there is to say to standard output.
pub(crate) fn say(text: &str) -> io::Result<()> {
    put(text.as_bytes()).map(|_| ())
}

/// A value as a YAML document, with a line break at its end. What a reader of YAML 1.1 might take for
/// something else than a string (`on`, `5:30`) is quoted.
pub(crate) fn yaml(value: &impl Serialize) -> io::Result<String> {
    // Each value on a line of its own, however long, so that it can be searched for.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text =
        serde_saphyr::to_string_with_options(value, options).map_err(io::Error::other)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Rows under a heading; without rows, what `none` says.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    none: &str,
) -> String {
    grid(&heading, rows, none)
}

/// As [`table`], with columns that are known only when it is printed.
pub(crate) fn grid<R: IntoIterator<Item = String>>(
    heading: &[&str],
    rows: impl IntoIterator<Item = R>,
    none: &str,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heading.iter().map(|name| name.to_uppercase()));
    let mut any = false;
    for row in rows {
        table.add_row(row);
        any = true;
    }
    if any { trimmed(&table.to_string()) } else { format!("{none}\n") }
}

/// Names and values, a line each.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in pairs {
        table.add_row([name.to_owned(), value]);
    }
    trimmed(&table.to_string())
}

/// Rows without a heading.
pub(crate) fn rows<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut any = false;
    for row in rows {
        table.add_row(row);
        any = true;
    }
    if any { trimmed(&table.to_string()) } else { String::new() }
}

/// What there is, or `-`.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Octets in the largest unit that gives at least one.
pub(crate) fn octets(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, bits) in UNITS {
        if count >> bits > 0 {
            let tenths = (count >> (bits - 10)) * 10 / 1024;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} B")
}

/// Seconds as an operator writes durations.
pub(crate) fn seconds(count: u64) -> String {
    match count {
        0..120 => format!("{count}s"),
        120..7200 => format!("{}m", count / 60),
        7200..172_800 => format!("{}h", count / 3600),
        _ => format!("{}d", count / 86_400),
    }
}

/// Without spaces at the ends of lines and without the margin at their beginning.
fn trimmed(table: &str) -> String {
    table
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["longer", "2"]].map(|row| row.map(String::from));
        let text = table(["name", "value"], rows, "nothing");
        assert_eq!(text, "NAME    VALUE\na       1\nlonger  2\n");
        assert_eq!(table(["name"], [], "no names"), "no names\n");
        assert_eq!(
            pairs([("site", "a".into()), ("generation", "7".into())]),
            "site        a\ngeneration  7\n"
        );
    }

    fn read_back(value: &serde_json::Value) -> serde_json::Value {
        let text = yaml(value).unwrap();
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
        yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn yaml_is_what_an_independent_parser_reads() {
        let value = json!({
            "empty": [], "none": null, "nothing": {}, "large": u64::MAX, "negative": -1,
            "nested": [{"a": [1, 2]}, {"a": []}, [[], {}]],
            "strings": [
                "", " ", "on", "No", "~", "null", "5:30", "0x10", "1e3", "1_000", "2026-11-21", "*",
                "tcp/*", "&a", "- a", "a: b", "a #b", "#1 (gone)", "240.0.8.1", "::1", "[x]", "{x}",
                "a\nb\n", "a\ttab", "\u{7}", "é", "=", "<<", "!x", "%x", "@x", "`x`", "|", ">", "'",
                "\"", "\\", "x:", ": x", "?", "? x", ",", ".5", "+1", "-", "--- ", "...",
            ],
        });
        assert_eq!(read_back(&value), value);
        for text in value["strings"].as_array().unwrap() {
            assert_eq!(read_back(text), *text, "alone");
            let key = json!({ text.as_str().unwrap(): text });
            assert_eq!(read_back(&key), key, "as a key");
        }
    }

    proptest! {
        #[test]
        fn any_string_survives_yaml(text in "\\PC{0,40}|[ -~\n]{0,40}") {
            let value = json!([{ "value": text }]);
            prop_assert_eq!(read_back(&value), value);
        }
    }

    #[test]
    fn quantities() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (100_000_000, "95.3 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(octets(count), text);
        }
        for (count, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200_000, "2d")]
        {
            assert_eq!(seconds(count), text);
        }
    }
}
