//! Controllers that are not of this version, or break off: what they answer is never waited for without end, and
//! never taken for something else.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;

use super::Scratch;

/// Answers every connection by these octets, then ends it.
fn answering(scratch: &Scratch, octets: Vec<u8>) -> String {
    let socket = scratch.path("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut octet = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut octet).is_ok() {
                head.extend(octet);
            }
            // One that has heard enough may be gone.
            let _ = stream.write_all(&octets);
        }
    });
    socket
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}

#[test]
fn answers_of_other_versions_are_told() {
    let mut cut = answer("200 OK", "{\"items\":[],\"revision\":1}");
    cut.truncate(cut.len() - 5);
    for (octets, why) in [
        (answer("200 OK", "{}"), "of its version"),
        (answer("404 Not Found", "not found"), "of its version"),
        (cut, "ended before the answer"),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), "ended before the answer"),
        (Vec::new(), "ended before the answer"),
        (
            answer("403 Forbidden", "{\"error\":\"forbidden\",\"message\":\"ask an operator\"}"),
            "ask an operator",
        ),
        (answer("200 OK", "{\"items\":[],\"revision\":1,\"next\":\"x\"}"), "does not end"),
    ] {
        let scratch = Scratch::new();
        let shown = octets.escape_ascii().to_string();
        let socket = answering(&scratch, octets);
        let told = scratch.ctl_at(&socket, &["get", "sites"], "").fails(1);
        assert!(told.contains(why), "{shown}: {told}");
    }
}

#[test]
fn a_watch_or_backup_that_breaks_off_is_an_error() {
    let scratch = Scratch::new();
    let cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n";
    let socket = answering(&scratch, cut.to_vec());
    let file = scratch.path("backup");
    let told = scratch.ctl_at(&socket, &["backup", &file], "").fails(1);
    assert!(told.contains("ended before the answer"), "{told}");
    let left = std::fs::read_dir(&scratch.0).unwrap().count();
    assert_eq!(left, 2, "the socket and the directory of editors");

    let scratch = Scratch::new();
    let socket = answering(&scratch, answer("200 OK", "{\"revision\":1}\n\n"));
    let told = scratch.ctl_at(&socket, &["get", "sites", "--watch"], "").fails(1);
    assert!(told.contains("ended the watch"), "{told}");
    let scratch = Scratch::new();
    let socket = answering(&scratch, answer("200 OK", "{\"revision\":1}\n{\"rev"));
    let told = scratch.ctl_at(&socket, &["get", "sites", "--watch"], "").fails(1);
    assert!(told.contains("inside of a line"), "{told}");
}
