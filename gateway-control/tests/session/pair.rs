//! Two ends and what is between them: octets that arrive when and as the test lets them, at a time that it sets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gateway_control::session::{
    ControllerEnd, ControllerEvent, End, GatewayEnd, GatewayEvent, Hello, Holding, Lease, Peer,
    VERSION,
};

/// What is on its way to one end, in the pieces that it was sent in; here each is a frame.
#[derive(Debug, Default)]
pub(crate) struct Way {
    pub(crate) frames: VecDeque<Vec<u8>>,
}

/// One connection.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) gateway: GatewayEnd,
    pub(crate) controller: ControllerEnd,
    pub(crate) up: Way,
    pub(crate) down: Way,
    /// What the ends told, in order.
    pub(crate) of_gateway: Vec<GatewayEvent>,
    pub(crate) of_controller: Vec<ControllerEvent>,
}

pub(crate) fn hello() -> Hello {
    Hello {
        version: VERSION,
        site: "edge-a".parse().unwrap(),
        gateway: "gw".parse().unwrap(),
        public_key: [7; 32].into(),
        program: "0.1.0".to_owned(),
        holds: None,
    }
}

impl Way {
    /// At most so many octets.
    fn take(&mut self, mut count: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(frame) = self.frames.front_mut().filter(|_| count > 0) {
            let piece = count.min(frame.len());
            taken.extend(frame.drain(..piece));
            count -= piece;
            if frame.is_empty() {
                self.frames.pop_front();
            }
        }
        taken
    }
}

impl Pair {
    pub(crate) fn new(now: Instant, holding: Option<Holding>, lease: Option<Lease>) -> Self {
        Self::with(now, GatewayEnd::new(now, hello(), holding), Peer::Host, lease)
    }

    pub(crate) fn with(
        now: Instant,
        gateway: GatewayEnd,
        peer: Peer,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            now,
            gateway,
            controller: ControllerEnd::new(now, peer, lease),
            up: Way::default(),
            down: Way::default(),
            of_gateway: Vec::new(),
            of_controller: Vec::new(),
        }
    }

    /// Whether either end is over.
    pub(crate) fn is_over(&self) -> bool {
        self.gateway_closed().is_some() || self.controller_closed().is_some()
    }

    pub(crate) fn gateway_closed(&self) -> Option<String> {
        self.of_gateway.iter().find_map(|event| match event {
            GatewayEvent::Closed(reason) => Some(reason.to_string()),
            _ => None,
        })
    }

    pub(crate) fn controller_closed(&self) -> Option<String> {
        self.of_controller.iter().find_map(|event| match event {
            ControllerEvent::Closed(reason) => Some(reason.to_string()),
            _ => None,
        })
    }

    /// Everything that the ends have to say and send.
    pub(crate) fn collect(&mut self) {
        self.of_gateway.extend(std::iter::from_fn(|| self.gateway.poll_event()));
        self.of_controller.extend(std::iter::from_fn(|| self.controller.poll_event()));
        self.up.frames.extend(std::iter::from_fn(|| self.gateway.poll_transmit()));
        self.down.frames.extend(std::iter::from_fn(|| self.controller.poll_transmit()));
    }

    /// Lets so many octets arrive at the controller, or at the gateway.
    pub(crate) fn deliver(&mut self, up: bool, octets: usize) {
        self.collect();
        match up {
            true => self.controller.handle_input(self.now, &self.up.take(octets)),
            false => self.gateway.handle_input(self.now, &self.down.take(octets)),
        }
        self.collect();
    }

    /// Lets all arrive, and what is answered, until there is nothing more.
    pub(crate) fn settle(&mut self) {
        self.collect();
        while !self.up.frames.is_empty() || !self.down.frames.is_empty() {
            self.deliver(true, usize::MAX);
            self.deliver(false, usize::MAX);
        }
    }

    /// Lets time pass as the ends ask for it. Nothing arrives meanwhile.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.gateway.poll_timeout().into_iter().chain(self.controller.poll_timeout());
            self.now = due.min().unwrap_or(end).clamp(self.now, end);
            self.gateway.handle_timeout(self.now);
            self.controller.handle_timeout(self.now);
            self.collect();
            let next =
                self.gateway.poll_timeout().into_iter().chain(self.controller.poll_timeout());
            assert!(next.min().is_none_or(|next| next > self.now), "a timeout that stays due");
            if self.now == end {
                return;
            }
        }
    }

    /// Lets time pass, and all arrive at once.
    pub(crate) fn go_on(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.wait(Duration::from_millis(100).min(end - self.now));
            self.settle();
        }
    }
}
