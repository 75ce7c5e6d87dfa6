//! What a thread of the store is given to do, one thing after the other.
//!
//! The store's calls wait here, not the runtime's threads. The queue is bounded: further callers wait for a place.

use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Most jobs that wait for a thread.
const PLACES: usize = 64;

/// A job with its place.
#[derive(Debug)]
pub(super) struct Queued<J> {
    pub(super) job: J,
    _place: OwnedSemaphorePermit,
}

/// The end to which jobs are given.
#[derive(Debug)]
pub(super) struct Queue<J> {
    jobs: mpsc::Sender<Queued<J>>,
    places: Arc<Semaphore>,
}

/// The thread does not answer any more.
#[derive(Debug)]
pub(super) enum Gone {
    /// It was not given the job.
    Before,
    /// It was given the job.
    During,
}

impl<J> Queue<J> {
    pub(super) fn new() -> (Self, mpsc::Receiver<Queued<J>>) {
        let (jobs, receiver) = mpsc::channel();
        (Self { jobs, places: Arc::new(Semaphore::new(PLACES)) }, receiver)
    }

    /// Gives the thread a job and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<T>) -> J,
    ) -> Result<T, Gone> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Gone::Before)?;
        let (sender, receiver) = oneshot::channel();
        let queued = Queued { job: make(sender), _place: place };
        self.jobs.send(queued).map_err(|_| Gone::Before)?;
        receiver.await.map_err(|_| Gone::During)
    }
}
