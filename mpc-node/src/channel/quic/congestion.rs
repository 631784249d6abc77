//! How much is sent at a time: CUBIC, which takes a few lost packets for noise.
//!
//! CUBIC halves what is under way, more or less, whenever a packet is lost; with one lost in a hundred, whatever the line can carry,
//! a lane comes to a standstill. As BBR does in its newer versions, less than two lost in a hundred, over what was sent lately, are
//! no sign of a full line here. More are, and so are marks of the network (ECN) and a line on which nothing comes through at all.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, CubicConfig};

/// So many lost among a hundred that were sent are noise.
const NOISE: u64 = 2;
/// Over how many bytes losses are counted: what was sent before counts half as much.
const LATELY: u64 = 2 << 20;
/// Bytes that may be lost before the share says anything: a few packets.
const FEW: u64 = 8 * 1452;

/// Makes controllers.
#[derive(Debug, Default)]
pub(super) struct Tolerant;

impl ControllerFactory for Tolerant {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Arc::new(CubicConfig::default()).build(now, current_mtu);
        Box::new(Lane { cubic, losses: Losses::default() })
    }
}

/// What was sent lately, and lost.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    sent: u64,
    lost: u64,
}

impl Losses {
    fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        if self.sent > LATELY {
            (self.sent, self.lost) = (self.sent / 2, self.lost / 2);
        }
    }

    /// Counts what was lost; says whether that is more than noise.
    fn lost(&mut self, bytes: u64) -> bool {
        self.lost += bytes;
        self.lost > FEW.max(self.sent * NOISE / 100)
    }
}

/// The controller of one connection.
struct Lane {
    cubic: Box<dyn Controller>,
    losses: Losses,
}

impl Controller for Lane {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.losses.sent(bytes);
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &quinn_proto::RttEstimator) {
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        let marked = lost_bytes == 0;
        if self.losses.lost(lost_bytes) || marked || is_persistent_congestion {
            self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), losses: self.losses })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1452;

    /// Sends `packets`, of which each `every`th is lost; how large the window is then, compared with what it was.
    fn after(packets: u64, every: u64) -> (u64, u64) {
        let now = Instant::now();
        let mut lane = Arc::new(Tolerant).build(now, PACKET as u16);
        let before = lane.window();
        for packet in 1..=packets {
            let at = now + std::time::Duration::from_micros(packet);
            lane.on_sent(at, PACKET, packet);
            if packet.is_multiple_of(every) {
                lane.on_congestion_event(at, at, false, PACKET);
            }
        }
        (before, lane.window())
    }

    #[test]
    fn one_lost_in_a_hundred_is_noise_and_one_in_twenty_a_full_line() {
        let (before, window) = after(10_000, 100);
        assert_eq!(window, before);
        let (before, window) = after(10_000, 20);
        assert!(window < before / 4, "{window} of {before}");
        let (before, window) = after(7, 1);
        assert_eq!(window, before, "a few say nothing");
        let (before, window) = after(30, 1);
        assert!(window < before, "many do, whatever else was sent: {window} of {before}");
    }

    #[test]
    fn marks_and_a_line_on_which_nothing_comes_through_count_at_once() {
        let now = Instant::now();
        for (persistent, lost) in [(false, 0), (true, PACKET)] {
            let mut lane = Arc::new(Tolerant).build(now, PACKET as u16);
            let before = lane.window();
            lane.on_sent(now, PACKET, 1);
            lane.on_congestion_event(now, now, persistent, lost);
            assert!(lane.window() < before, "{persistent} {lost}");
        }
        let lane = Arc::new(Tolerant).build(now, PACKET as u16);
        assert_eq!(lane.clone_box().window(), lane.initial_window());
    }
}
