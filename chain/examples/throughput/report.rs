//! The figures, as a table for people or one object for programs.

use serde_json::{Value, json};

use super::{Outcome, Result};

/// Upper ends of the histogram's columns, in seconds.
const COLUMNS: [f64; 8] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0];

/// What was measured.
#[derive(Default)]
pub struct Report {
    pub validators: Option<Outcome>,
    pub noop: Option<Outcome>,
    pub embedded: Option<Outcome>,
}

impl Outcome {
    fn rate(&self) -> f64 {
        self.committed as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    fn blocks_per_second(&self) -> f64 {
        self.blocks as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// The time within which `part` of all were final.
    fn quantile(&self, part: f64) -> Option<f64> {
        let last = self.finality.len().checked_sub(1)?;
        self.finality.get((last as f64 * part) as usize).copied()
    }

    fn cpu_ms(&self) -> f64 {
        self.cpu.all() * 1000.0 / self.committed.max(1) as f64
    }

    fn histogram(&self) -> Vec<(String, usize)> {
        let mut from = 0;
        let mut columns = Vec::new();
        for end in COLUMNS {
            let until = self.finality.partition_point(|time| *time <= end);
            columns.push((format!("<= {end} s"), until - from));
            from = until;
        }
        columns.push(("later".into(), self.finality.len() - from));
        columns
    }

    fn json(&self) -> Value {
        json!({
            "offered": self.offered,
            "refused": self.refused,
            "committed": self.committed,
            "seconds": self.seconds,
            "tx_per_second": self.rate(),
            "blocks_per_second": self.blocks_per_second(),
            "finality_p50": self.quantile(0.5),
            "finality_p99": self.quantile(0.99),
            "finality_histogram": self.histogram().into_iter().map(|(name, n)| json!([name, n])).collect::<Vec<_>>(),
            "cpu_ms_per_tx": self.cpu_ms(),
            "cpu_seconds": { "ledgers": self.cpu.ledgers, "engines": self.cpu.engines, "load": self.cpu.load },
        })
    }
}

impl Report {
    /// Prints it.
    pub fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", self.json());
            return Ok(());
        }
        println!(
            "| system | tx/s | of offered | blocks/s | final within, p50 | p99 | CPU-ms a tx: all | ledgers | engines | load |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let rows = [
            ("validators", &self.validators),
            ("the same CometBFT, an application that does nothing", &self.noop),
            ("one embedded validator", &self.embedded),
        ];
        for (name, outcome) in rows.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref()?))) {
            let seconds = |part| outcome.quantile(part).map_or_else(|| "-".into(), |s| format!("{s:.2} s"));
            let each = |cpu: f64| cpu * 1000.0 / outcome.committed.max(1) as f64;
            println!(
                "| {name} | {:.0} | {:.1} % | {:.2} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
                outcome.rate(),
                100.0 * outcome.committed as f64 / outcome.offered.max(1) as f64,
                outcome.blocks_per_second(),
                seconds(0.5),
                seconds(0.99),
                outcome.cpu_ms(),
                each(outcome.cpu.ledgers),
                each(outcome.cpu.engines),
                each(outcome.cpu.load),
            );
        }
        if let Some(outcome) = &self.validators {
            println!("\nTime to finality under the validators:");
            for (name, count) in outcome.histogram() {
                let share = count as f64 / outcome.finality.len().max(1) as f64;
                println!("{name:>9}  {:<50} {:.1} %", "#".repeat((share * 50.0) as usize), share * 100.0);
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let of = |outcome: &Option<Outcome>, figure: fn(&Outcome) -> Option<f64>| outcome.as_ref().and_then(figure);
        json!({
            "tx_per_second": of(&self.validators, |o| Some(o.rate())),
            "noop_tx_per_second": of(&self.noop, |o| Some(o.rate())),
            "embedded_tx_per_second": of(&self.embedded, |o| Some(o.rate())),
            "blocks_per_second": of(&self.validators, |o| Some(o.blocks_per_second())),
            "finality_p50": of(&self.validators, |o| o.quantile(0.5)),
            "finality_p99": of(&self.validators, |o| o.quantile(0.99)),
            "validators": self.validators.as_ref().map(Outcome::json),
            "noop": self.noop.as_ref().map(Outcome::json),
            "embedded": self.embedded.as_ref().map(Outcome::json),
        })
    }
}
