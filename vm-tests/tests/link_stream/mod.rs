//! A stream of datagrams of which none may be missing, while links change under it.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use vm_tests::lab::namespace::Namespace;
use vm_tests::lab::wait::wait_for;

/// Bound on ten windows, however busy the machine is.
const BOUND: Duration = Duration::from_secs(60);

/// Datagrams to an echo server, a window of them at a time, each of which must come back.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    worker: JoinHandle<Result<u64>>,
}

impl Stream {
    /// So many are under way at a time.
    const WINDOW: u64 = 16;
    /// So late an answer counts as lost; one that only waits for a processor comes earlier.
    const LATE: Duration = Duration::from_secs(20);

    /// Begins, from a client's namespace.
    pub(crate) fn start(client: &Namespace, server: std::net::SocketAddrV4) -> Result<Self> {
        let socket = client.run(|| UdpSocket::bind("0.0.0.0:0"))??;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Self::LATE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let worker = std::thread::spawn(move || {
            let (mut next, mut lost) = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                let window = next..next + Self::WINDOW;
                for number in window.clone() {
                    socket.send(format!("{number}").as_bytes())?;
                }
                let mut missing: Vec<u64> = window.collect();
                let mut buffer = [0; 256];
                while !missing.is_empty() {
                    let Ok(length) = socket.recv(&mut buffer) else { break };
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let number = text.rsplit(' ').next().and_then(|it| it.parse::<u64>().ok());
                    missing.retain(|it| Some(*it) != number);
                }
                lost += missing.len() as u64;
                next += Self::WINDOW;
                count.store(next - lost, Ordering::Relaxed);
            }
            Ok(lost)
        });
        Ok(Self { stop, answered, worker })
    }

    /// Waits until some more windows have gone through.
    pub(crate) fn go_on(&self) -> Result<()> {
        let before = self.answered.load(Ordering::Relaxed);
        wait_for("the stream to go on", BOUND, || {
            Ok(self.answered.load(Ordering::Relaxed) >= before + 10 * Self::WINDOW)
        })
    }

    /// Ends it; none may have been lost.
    pub(crate) fn must_be_whole(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let answered = self.answered.load(Ordering::Relaxed);
        let lost = self.worker.join().expect("the stream does not panic")?;
        ensure!(lost == 0, "{lost} datagrams were lost, {answered} came back");
        ensure!(answered > 0, "nothing was sent");
        Ok(())
    }
}
