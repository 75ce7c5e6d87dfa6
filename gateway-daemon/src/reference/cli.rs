//! The page of command lines, from what the programs answer to `--help`.

use clap::{Command, CommandFactory as _};

use super::GENERATED;
use crate::ctl::Arguments;
use crate::daemon_cli::DaemonArguments;

/// Columns of the help texts, whatever terminal they are written in.
const WIDTH: usize = 90;

pub(super) fn page() -> String {
    let mut page = format!("# Command lines\n{GENERATED}");
    let programs = [(DaemonArguments::command(), "gatewayd"), (Arguments::command(), "gatewayctl")];
    for (mut command, name) in programs {
        command = command.disable_version_flag(true).term_width(WIDTH);
        command.build();
        describe(&mut page, &command, name, 2);
    }
    page
}

fn describe(page: &mut String, command: &Command, name: &str, level: usize) {
    let marks = "#".repeat(level);
    // What every command has is told once, above them all.
    let command_alone = command.clone().term_width(WIDTH).mut_args(|option| {
        let is_common = option.is_global_set() || option.get_id() == "help";
        if level > 2 && is_common { option.hide(true) } else { option }
    });
    let help = command_alone.disable_help_subcommand(true).render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n{marks} {name}\n\n```text\n{}\n```\n", help.join("\n").trim()));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        if inner.get_name() != "help" {
            describe(page, inner, &format!("{name} {}", inner.get_name()), level + 1);
        }
    }
}
