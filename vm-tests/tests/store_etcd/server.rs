//! An etcd server with a directory and ports of its own.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gateway_daemon::store::etcd::{EtcdSettings, EtcdStore};
use tokio::time;

use crate::conformance::PATIENCE;
use crate::conformance::scratch::Scratch;

/// Its process and its data are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Etcd {
    scratch: Scratch,
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Etcd {
    pub(crate) async fn new() -> Self {
        // Held together, so that they differ.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer] = listeners.each_ref().map(|it| it.local_addr().unwrap().port());
        drop(listeners);
        let mut server = Self { scratch: Scratch::new(), client, peer, process: None };
        server.start().await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.client
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    /// Settings with which tests do not wait longer than they must.
    pub(crate) fn settings(endpoints: Vec<String>) -> EtcdSettings {
        let deployment = "test".parse().unwrap();
        EtcdSettings {
            call_timeout: Duration::from_secs(10),
            probe_interval: Duration::from_secs(1),
            ..EtcdSettings::new(endpoints, deployment)
        }
    }

    pub(crate) async fn connect(&self) -> EtcdStore {
        EtcdStore::connect(Self::settings(vec![self.endpoint()])).await.unwrap()
    }

    /// Starts the server and waits until it serves.
    pub(crate) async fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let url = |port| format!("http://127.0.0.1:{port}");
        let (client, peer) = (url(self.client), url(self.peer));
        let log =
            File::options().create(true).append(true).open(self.scratch.0.join("log")).unwrap();
        let child = Command::new("etcd")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(["--name", "one", "--initial-cluster", &format!("one={peer}")])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--grpc-keepalive-min-time", "500ms"])
            // It is alone and need not wait for others to be elected.
            .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
            .arg("--data-dir")
            .arg(self.scratch.0.join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("`etcd` does not start; the package is etcd-server");
        self.process = Some(child);
        let give_up = time::Instant::now() + PATIENCE;
        while let Err(error) = EtcdStore::connect(Self::settings(vec![self.endpoint()])).await {
            let log = std::fs::read_to_string(self.scratch.0.join("log")).unwrap();
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && time::Instant::now() < give_up, "{error}\n{log}");
            // Nothing tells when it listens.
            time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the server at once, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
