//! The store in etcd, on servers that the tests start themselves: what every store must do, and what a network and a
//! server can do to it. The suite is the one of `gateway-daemon/tests/store/`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may fail where a store does not do what it expects")]

#[path = "../../gateway-daemon/tests/store/conformance/mod.rs"]
mod conformance;
#[path = "store_etcd/controllers.rs"]
mod controllers;
#[path = "store_etcd/faults.rs"]
mod faults;
#[path = "store_etcd/proxy.rs"]
mod proxy;
#[path = "store_etcd/server.rs"]
mod server;

use std::sync::Arc;

use conformance::Engine;
use gateway_daemon::store::Store;
use server::Etcd;

impl Engine for Etcd {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.connect().await)
    }

    /// As a server does that is killed.
    async fn restart(&mut self, open: Vec<Arc<dyn Store>>) {
        drop(open);
        self.kill();
        self.start().await;
    }
}

conformance::suite!(Etcd::new());
