//! Other programs: run, listened to, and ended when they take too long.
//!
//! Every command of xtask starts programs through here, so that an error always names the program and
//! no run is without a bound it was given.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs to the end with the terminal's own input and output; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs to the end with the terminal's own input and output.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("`{}` does not start", line(command)))
}

/// Runs to the end and gives the standard output; anything but success is an error that carries the
/// standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{}` does not start", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", line(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` wrote something that is not UTF-8", line(command)))
}

/// How a program that was listened to came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// Ended because it outlived its bound.
    OutOfTime,
    /// Ended because the listener had heard enough.
    Stopped,
}

/// What the listener wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// More output.
    On,
    /// No more; the program is ended.
    Stop,
}

/// Runs with standard output and error joined and hands every piece of output over as it comes.
///
/// The listener is also called with an empty piece about once a second, so that it can act on silence.
pub(crate) fn listen(
    command: &mut Command,
    bound: Duration,
    mut on_output: impl FnMut(&[u8]) -> Listen,
) -> Result<Ending> {
    let (mut reader, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    let name = line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("`{name}` does not start"))?;
    // The command holds the pipe's writing ends; the reader sees the end only when they are gone.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(64);
    let reading = thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });

    let deadline = Instant::now() + bound;
    let ending = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break end(&mut child, Ending::OutOfTime)?;
        }
        let piece = match receiver.recv_timeout(left.min(Duration::from_secs(1))) {
            Ok(piece) => piece,
            Err(RecvTimeoutError::Disconnected) => break Ending::Exited(child.wait()?),
            Err(RecvTimeoutError::Timeout) => {
                // A descendant that lives on may hold the pipe open for ever.
                if let Some(status) = child.try_wait()? {
                    break Ending::Exited(status);
                }
                Vec::new()
            }
        };
        if on_output(&piece) == Listen::Stop {
            break end(&mut child, Ending::Stopped)?;
        }
    };
    drop(receiver);
    if let Ending::Exited(_) = ending {
        drop(reading);
    }
    Ok(ending)
}

/// Like [`listen`], shows the output as it comes, and gives all of it at the end.
pub(crate) fn show(command: &mut Command, bound: Duration) -> Result<(Ending, String)> {
    let mut heard = Vec::new();
    let ending = listen(command, bound, |piece| {
        heard.extend_from_slice(piece);
        let mut out = io::stdout().lock();
        // A closed terminal must not stop the tests.
        let _ = out.write_all(piece).and_then(|()| out.flush());
        Listen::On
    })?;
    Ok((ending, String::from_utf8_lossy(&heard).into_owned()))
}

/// The command as one would type it, without its environment.
pub(crate) fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn end(child: &mut Child, ending: Ending) -> Result<Ending> {
    child.kill()?;
    child.wait()?;
    Ok(ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_are_heard() {
        let mut heard = Vec::new();
        let ending =
            listen(&mut shell("echo one; echo two >&2"), Duration::from_secs(20), |piece| {
                heard.extend_from_slice(piece);
                Listen::On
            })
            .unwrap();
        assert!(matches!(ending, Ending::Exited(status) if status.success()));
        assert_eq!(heard, b"one\ntwo\n");
    }

    #[test]
    fn a_run_out_of_time_is_ended() {
        let ending =
            listen(&mut shell("exec sleep 60"), Duration::from_millis(200), |_| Listen::On)
                .unwrap();
        assert_eq!(ending, Ending::OutOfTime);
    }

    #[test]
    fn a_listener_can_stop() {
        let mut command = shell("echo enough; exec sleep 60");
        let ending = listen(&mut command, Duration::from_secs(20), |piece| {
            if piece.is_empty() { Listen::On } else { Listen::Stop }
        })
        .unwrap();
        assert_eq!(ending, Ending::Stopped);
    }

    #[test]
    fn a_descendant_with_the_pipe_open_does_not_hold_the_run_up() {
        let started = Instant::now();
        let ending =
            listen(&mut shell("sleep 8 & exit 3"), Duration::from_secs(30), |_| Listen::On)
                .unwrap();
        assert!(matches!(ending, Ending::Exited(status) if status.code() == Some(3)));
        assert!(started.elapsed() < Duration::from_secs(7));
    }

    #[test]
    fn an_error_names_the_program() {
        let error = output(&mut shell("echo wrong >&2; exit 1")).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("wrong"), "{error}");
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(error.contains("no-such-program-here"), "{error}");
    }
}
