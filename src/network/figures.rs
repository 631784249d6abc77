//! What the three nodes have used and sent, added up from their own reports.

use sahara_mpc::status::NodeStatus;

/// Processor time and bytes of the nodes; differences of two readings give the cost of what happened between.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Processor seconds.
    pub cpu_seconds: f64,
    /// Bytes of handshakes, status and registration.
    pub setup: u64,
    /// Bytes of preprocessing, between nodes.
    pub offline: u64,
    /// Bytes of answering, between nodes.
    pub online: u64,
    /// Bytes between client and nodes, both ways.
    pub client: u64,
}

impl Figures {
    /// Of one node. What one node sends another receives, so only the client's bytes are taken from both counters.
    pub fn of(status: &NodeStatus) -> Self {
        Self {
            cpu_seconds: status.cpu_seconds(),
            setup: status.sent.setup,
            offline: status.sent.offline,
            online: status.sent.online,
            client: status.sent.client + status.received.client,
        }
    }

    /// Adds another node or another stretch.
    pub fn add(&mut self, other: &Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.setup += other.setup;
        self.offline += other.offline;
        self.online += other.online;
        self.client += other.client;
    }

    /// What happened since an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            setup: self.setup.saturating_sub(before.setup),
            offline: self.offline.saturating_sub(before.offline),
            online: self.online.saturating_sub(before.online),
            client: self.client.saturating_sub(before.client),
        }
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.setup + self.offline + self.online + self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_add_up() {
        let a = Figures { cpu_seconds: 1.0, setup: 1, offline: 2, online: 3, client: 4 };
        let mut b = a;
        b.add(&Figures { cpu_seconds: 0.5, setup: 0, offline: 10, online: 20, client: 30 });
        let step = b.since(&a);
        assert_eq!((step.cpu_seconds, step.bytes()), (0.5, 60));
    }
}
