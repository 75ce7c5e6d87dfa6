//! An etcd server for a benchmark, with a directory and ports of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gateway_daemon::store::etcd::{EtcdSettings, EtcdStore};
use tokio::time::{Instant, sleep};

/// How long it has to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its process ends when this is dropped.
#[derive(Debug)]
pub struct Etcd {
    process: Child,
    endpoint: String,
}

impl Etcd {
    /// Starts one that keeps its data in this directory, and waits until it serves.
    pub async fn start(directory: &Path) -> Result<Self> {
        // Held together, so that they differ.
        let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let port = |listener: &TcpListener| listener.local_addr().map(|it| it.port());
        let url = |port| format!("http://127.0.0.1:{port}");
        let [client, peer] = [url(port(&listeners[0])?), url(port(&listeners[1])?)];
        drop(listeners);
        let process = Command::new("etcd")
            .args(["--name", "one", "--initial-cluster", &format!("one={peer}")])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .arg("--data-dir")
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("`etcd` does not start; the package is etcd-server")?;
        let mut server = Self { process, endpoint: client };
        let give_up = Instant::now() + PATIENCE;
        while let Err(error) = server.connect().await {
            if server.process.try_wait()?.is_some() || Instant::now() > give_up {
                bail!("etcd does not serve: {error:#}");
            }
            // Nothing tells when it listens.
            sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    /// Where it serves.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// The store in it.
    pub async fn connect(&self) -> Result<EtcdStore> {
        let deployment = "bench".parse().context("a name")?;
        Ok(EtcdStore::connect(EtcdSettings::new(vec![self.endpoint()], deployment)).await?)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // If it has ended by itself there is nothing left to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
