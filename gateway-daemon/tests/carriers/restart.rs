//! A controller that is gone without a word and back.

use std::time::Duration;

use gateway_daemon::session::{Carried, CarrierKind, ListenSettings, Listener, ResetKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::carry::LONG;
use crate::pki::{dialler, listener_with, server_config};

fn settings(key: u8) -> ListenSettings {
    ListenSettings { reset_key: Some(ResetKey::from([key; 32])), ..ListenSettings::default() }
}

/// A session of a gateway with a controller that says nothing any more, and another controller at its address.
fn broken(runtime: &Runtime, key: u8) -> (Carried, Listener) {
    let old = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut listener = old.block_on(async { listener_with(settings(1)) });
    let address = listener.addresses()[0];
    let gateway = runtime.block_on(async {
        let mut gateway = dialler([address]).dial().await;
        assert_eq!(gateway.kind(), CarrierKind::Quic);
        gateway.write_all(b"hello").await.unwrap();
        gateway
    });
    let controller = old.block_on(async {
        let mut controller = listener.accept().await.unwrap();
        controller.read_exact(&mut [0; 5]).await.unwrap();
        controller
    });
    // Its tasks are dropped before its connections, so that nobody is left to say goodbye.
    old.shutdown_timeout(LONG);
    drop((controller, listener));
    let again = async { Listener::bind(&[address], &server_config(), settings(key)).unwrap() };
    (gateway, runtime.block_on(again))
}

#[test]
fn a_gateway_learns_of_a_restart_by_what_it_says_next() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for (key, learns) in [(1, true), (2, false)] {
        let (mut gateway, _listener) = broken(&runtime, key);
        runtime.block_on(async {
            let closer = gateway.closer();
            gateway.write_all(b"is anybody there").await.unwrap();
            let closed = timeout(Duration::from_secs(4), closer.closed()).await;
            assert_eq!(closed.is_ok(), learns, "{closed:?}");
        });
    }
}
