//! The lab's small servers and clients as a program: servers run in a server's namespace, clients
//! are for a shell in a client's.

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use vm_tests::lab::plan::{ECHO_PORT, HTTP_PORT};
use vm_tests::lab::traffic::{self, Body, Conversation, Download};

/// Small servers and clients that say whom they see.
#[derive(Parser)]
enum Command {
    /// Serve HTTP on port 8080 and echo on port 7007, TCP and UDP.
    Serve {
        /// What the answers call this server.
        name: String,
        /// The address to listen on.
        address: Ipv4Addr,
    },
    /// Fetch a small answer over HTTP and print it.
    Get {
        /// ADDRESS:PORT of the server.
        server: SocketAddrV4,
        /// What to ask for.
        #[arg(default_value = "/")]
        path: String,
    },
    /// Download bytes over HTTP and compare their checksum with what it must be.
    Download {
        /// ADDRESS:PORT of the server.
        server: SocketAddrV4,
        /// How many bytes.
        #[arg(default_value_t = 100_000_000)]
        bytes: u64,
    },
    /// Open a TCP echo connection and say each line of the standard input.
    Talk {
        /// ADDRESS:PORT of the server.
        server: SocketAddrV4,
    },
    /// Ask a UDP echo server.
    Ask {
        /// ADDRESS:PORT of the server.
        server: SocketAddrV4,
        /// What to send.
        #[arg(default_value = "hello")]
        text: String,
    },
}

const ANSWER_BOUND: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("traffic: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve { name, address } => serve(&name, address),
        Command::Get { server, path } => {
            print!("{}", traffic::fetch(server, &path)?);
            Ok(())
        }
        Command::Download { server, bytes } => {
            let digest = Download::open(server, &format!("/bytes/{bytes}"))?.finish()?;
            ensure!(digest == Body::new(bytes).digest(), "{bytes} bytes came, but wrong ones");
            println!("{bytes} bytes, sha256 {digest} as it must be");
            Ok(())
        }
        Command::Talk { server } => {
            let mut conversation = Conversation::open(server)?;
            println!("{}", conversation.greeting());
            for line in std::io::stdin().lines() {
                let line = line?;
                conversation.say(&line, ANSWER_BOUND)?;
                println!("{line}");
            }
            Ok(())
        }
        Command::Ask { server, text } => {
            println!("{}", traffic::ask(server, &text, ANSWER_BOUND)?);
            Ok(())
        }
    }
}

fn serve(name: &str, address: Ipv4Addr) -> Result<()> {
    let listen = |port| {
        TcpListener::bind((address, port)).with_context(|| format!("listen on {address}:{port}"))
    };
    let (http, echo) = (listen(HTTP_PORT)?, listen(ECHO_PORT)?);
    let datagrams = UdpSocket::bind((address, ECHO_PORT))
        .with_context(|| format!("listen on {address}:{ECHO_PORT}/udp"))?;
    thread::scope(|scope| {
        let servers = [
            scope.spawn(|| traffic::serve_http(name, &http)),
            scope.spawn(|| traffic::serve_echo(name, &echo)),
            scope.spawn(|| traffic::serve_datagrams(name, &datagrams)),
        ];
        for server in servers {
            match server.join() {
                Ok(result) => result?,
                Err(_) => bail!("a server panicked"),
            }
        }
        Ok(())
    })
}
