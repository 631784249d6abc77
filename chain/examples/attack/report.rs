//! What came of it, as a table for people or one object for programs.

use std::collections::BTreeMap;

use serde_json::json;

use super::attacks::AttackKind;

/// Percent of the honest transfers that must be final within [`SOON`] seconds.
pub const BAR: f64 = 99.0;
/// See [`BAR`].
pub const SOON: f64 = 5.0;

/// Gas that every executed transaction uses at least.
const CHEAPEST: f64 = 21_000.0;

/// What became of one kind of attack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    pub offered: usize,
    /// By the node that was asked.
    pub refused: usize,
    /// In a block.
    pub executed: usize,
    /// Tokens.
    pub paid: f64,
}

/// What was measured.
#[derive(Default)]
pub struct Report {
    pub seed: u64,
    pub blocks: u64,
    pub seconds: f64,
    pub honest_sent: usize,
    pub honest_refused: u64,
    pub honest_paid: f64,
    /// Seconds from handing in to being seen in a block.
    pub finality: Vec<f64>,
    pub tried: BTreeMap<AttackKind, Tried>,
    pub gas_used: Vec<u64>,
    /// Lowest and highest, in the smallest unit.
    pub base_fees: Option<(u64, u64)>,
    /// What still waits at the end.
    pub pending: u64,
    pub queued: u64,
}

impl Report {
    pub fn base_fee(&mut self, now: u64) {
        let (low, high) = self.base_fees.unwrap_or((now, now));
        self.base_fees = Some((low.min(now), high.max(now)));
    }

    fn in_time(&self) -> f64 {
        let soon = self.finality.iter().filter(|seconds| **seconds <= SOON).count();
        100.0 * soon as f64 / self.honest_sent.max(1) as f64
    }

    /// What was missed: honest transfers in time, or attackers who pay for what they get.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if self.honest_sent == 0 || self.in_time() < BAR {
            let percent = self.in_time();
            missed.push(format!("{percent:.2} % of the honest transfers were final within {SOON} s, {BAR} % must be"));
        }
        let lowest = self.base_fees.map_or(0, |(low, _)| low);
        for (kind, tried) in &self.tried {
            let least = tried.executed as f64 * CHEAPEST * lowest as f64 / 1e18;
            if tried.paid < least * (1.0 - 1e-9) {
                let Tried { executed, paid, .. } = tried;
                missed.push(format!(
                    "{kind}: {executed} in blocks for {paid} tokens, {least} is the least that they cost"
                ));
            }
        }
        if self.tried.get(&AttackKind::OversizedCreation).is_some_and(|tried| tried.executed > 0) {
            missed.push(format!("{}: some are in blocks", AttackKind::OversizedCreation));
        }
        if self.tried.values().map(|tried| tried.paid).sum::<f64>() <= 0.0 {
            missed.push("no attacker has paid anything".into());
        }
        missed
    }

    pub fn print(&self, as_json: bool) {
        let mut sorted = self.finality.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile = |part: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * part) as usize).copied();
        let fullest = self.gas_used.iter().max().copied().unwrap_or_default();
        let (low, high) = self.base_fees.unwrap_or_default();
        if as_json {
            let tried: BTreeMap<String, _> = self
                .tried
                .iter()
                .map(|(kind, t)| {
                    let of =
                        json!({ "offered": t.offered, "refused": t.refused, "executed": t.executed, "paid": t.paid });
                    (kind.to_string(), of)
                })
                .collect();
            let all = json!({
                "seed": self.seed, "blocks": self.blocks, "seconds": self.seconds, "passed": self.missed().is_empty(),
                "missed": self.missed(),
                "honest": { "sent": self.honest_sent, "refused": self.honest_refused, "seen": sorted.len(),
                    "percent_in_time": self.in_time(), "p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1.0),
                    "paid": self.honest_paid },
                "attacks": tried, "fullest_block_gas": fullest, "base_fee_lowest": low, "base_fee_highest": high,
                "pending": self.pending, "queued": self.queued,
            });
            println!("{all}");
            return;
        }
        let seconds = |part| quantile(part).map_or_else(|| "-".into(), |s| format!("{s:.2} s"));
        println!("Seed {}: {} blocks in {:.0} s.", self.seed, self.blocks, self.seconds);
        println!(
            "Honest: {} sent, {} refused, {:.2} % final within {SOON} s (p50 {}, p99 {}, max {}); {:.4} tokens paid.",
            self.honest_sent,
            self.honest_refused,
            self.in_time(),
            seconds(0.5),
            seconds(0.99),
            seconds(1.0),
            self.honest_paid,
        );
        println!("\n| attack | offered | refused at the door | in blocks | tokens paid |\n|---|---|---|---|---|");
        for (kind, t) in &self.tried {
            println!("| {kind} | {} | {} | {} | {:.4} |", t.offered, t.refused, t.executed, t.paid);
        }
        println!(
            "\nFullest block: {:.1} M gas. Base fee {:.3} to {:.3} gwei. At the end {} pending, {} queued.",
            fullest as f64 / 1e6,
            low as f64 / 1e9,
            high as f64 / 1e9,
            self.pending,
            self.queued,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred honest transfers in time; two calls of an attacker at a base fee of 1 gwei.
    fn good() -> Report {
        let paid = Tried { offered: 9, refused: 0, executed: 2, paid: 2.0 * 21_000.0 * 1e-9 };
        let refused = Tried { offered: 9, refused: 9, ..Tried::default() };
        Report {
            honest_sent: 100,
            finality: vec![1.0; 99],
            base_fees: Some((1_000_000_000, 3_000_000_000)),
            tried: BTreeMap::from([(AttackKind::CallData, paid), (AttackKind::OversizedCreation, refused)]),
            ..Report::default()
        }
    }

    #[test]
    fn a_run_passes_when_honest_transfers_are_in_time_and_attackers_pay() {
        assert_eq!(good().missed(), [""; 0]);
        let missed = |change: &dyn Fn(&mut Report), say: &str| {
            let mut report = good();
            change(&mut report);
            let missed = report.missed().join("; ");
            assert!(missed.contains(say), "{missed}");
        };
        missed(&|r| r.finality[0] = 6.0, "98.00 % of the honest");
        missed(&|r| r.honest_sent = 0, "of the honest");
        let set = |kind, change: fn(&mut Tried)| move |r: &mut Report| change(r.tried.get_mut(&kind).expect("tried"));
        missed(&set(AttackKind::CallData, |t| t.executed = 3), "128 KB of call data: 3 in blocks");
        missed(&set(AttackKind::CallData, |t| t.paid = 0.0), "no attacker has paid anything");
        missed(&set(AttackKind::CallData, |t| t.paid = 0.0), "128 KB of call data: 2 in blocks for 0 tokens");
        missed(&set(AttackKind::OversizedCreation, |t| (t.executed, t.paid) = (1, 1.0)), "some are in blocks");
        missed(&|r| r.tried.clear(), "no attacker has paid anything");
    }
}
