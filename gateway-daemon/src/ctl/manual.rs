//! What helps at the prompt: completions for shells and manual pages, made from the command lines
//! themselves. Pure.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::arguments::{Arguments, ProgramName};
use crate::daemon_cli::DaemonArguments;

/// System administration tools and daemons.
const SECTION: &str = "8";

/// What makes `shell` complete the command line of `program`.
pub(super) fn completions(shell: Shell, program: ProgramName) -> Vec<u8> {
    let mut text = Vec::new();
    let name = program.name();
    clap_complete::generate(shell, &mut without_hidden(command(program)), name, &mut text);
    text
}

/// A manual page for each program and each of its commands: file name and text.
pub(super) fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    for program in [ProgramName::Gatewayctl, ProgramName::Gatewayd] {
        let mut command = without_hidden(command(program)).disable_help_subcommand(true);
        command.build();
        add_pages(&command, &mut pages)?;
    }
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for inner in command.get_subcommands() {
        add_pages(inner, pages)?;
    }
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let source = concat!("Presence ", env!("CARGO_PKG_VERSION"));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let page = Man::new(command.clone().override_usage(usage));
    let page = page.section(SECTION).source(source).manual("Presence");
    let mut text = Vec::new();
    page.render(&mut text)?;
    pages.push((format!("{name}.{SECTION}"), text));
    Ok(())
}

fn command(program: ProgramName) -> Command {
    match program {
        ProgramName::Gatewayctl => Arguments::command(),
        ProgramName::Gatewayd => DaemonArguments::command(),
    }
}

/// The same command line for operators: a command that is hidden from help is offered nowhere else.
fn without_hidden(command: Command) -> Command {
    let shown: Vec<Command> = command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
        .map(|inner| without_hidden(inner.clone()))
        .collect();
    let mut bare = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().cloned())
        .subcommand_required(command.is_subcommand_required_set() && !shown.is_empty())
        .subcommands(shown);
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        bare = bare.long_about(about.clone());
    }
    match command.get_version() {
        Some(version) => bare.version(version.to_owned()),
        None => bare,
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Every command that operators may give, word by word.
    fn commands(program: ProgramName) -> Vec<Vec<String>> {
        fn walk(command: &Command, words: &[String], all: &mut Vec<Vec<String>>) {
            for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
                let words = [words, &[inner.get_name().to_owned()]].concat();
                walk(inner, &words, all);
                all.push(words);
            }
        }
        let mut all = Vec::new();
        walk(&command(program), &[], &mut all);
        all
    }

    #[test]
    fn each_shell_completes_each_command_and_its_options() {
        let all = commands(ProgramName::Gatewayctl);
        assert!(all.len() > 15, "{all:?}");
        for shell in Shell::value_variants() {
            let text = String::from_utf8(completions(*shell, ProgramName::Gatewayctl)).unwrap();
            for words in &all {
                assert!(text.contains(words.last().unwrap()), "{shell}: {words:?}");
            }
            for option in ["from-site", "dont-fragment", "follow", "output", "identification"] {
                assert!(text.contains(option), "{shell}: {option}");
            }
            // Elvish and PowerShell are told options, not their values.
            if matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish) {
                assert!(text.contains("yaml") && text.contains("later"), "{shell}");
            }
            assert!(!text.contains("reference"), "{shell}: what is hidden is not offered");
            let daemon = String::from_utf8(completions(*shell, ProgramName::Gatewayd)).unwrap();
            assert!(daemon.contains("log-format") && !daemon.contains("link-device"), "{shell}");
        }
    }

    #[test]
    fn each_command_has_a_page_that_says_what_it_does() {
        let pages = pages().unwrap();
        let text = |name: &str| -> &str {
            let page = pages.iter().find(|(file, _)| *file == format!("{name}.8"));
            std::str::from_utf8(&page.unwrap_or_else(|| panic!("{name}")).1).unwrap()
        };
        for (program, name) in
            [(ProgramName::Gatewayctl, "gatewayctl"), (ProgramName::Gatewayd, "gatewayd")]
        {
            for words in commands(program) {
                let (last, before) = words.split_last().unwrap();
                let parent = [&[name.to_owned()], before].concat().join("-");
                let listed = format!("{parent}-{last}(8)").replace('-', "\\-");
                assert!(text(&parent).contains(&listed), "{listed}: {}", text(&parent));
                let page = text(&format!("{parent}-{last}"));
                assert!(
                    page.contains(".SH DESCRIPTION") && page.contains(".SH SYNOPSIS"),
                    "{page}"
                );
            }
        }
        assert!(text("gatewayd").contains("SIGHUP"));
        assert!(text("gatewayctl-flow-list").contains("interval"));
        assert!(text("gatewayctl-trace").contains("\\-\\-from\\-site"));
        let of_both =
            commands(ProgramName::Gatewayctl).len() + commands(ProgramName::Gatewayd).len();
        assert_eq!(pages.len(), of_both + 2);
    }
}
