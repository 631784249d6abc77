//! ε by both accountants for lines of `noise,rate,steps,delta` on standard input:
//! `cargo run --release -p sahara-privacy --example epsilon < points.csv`. What follows in a line is left as it is.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::Instant;

use sahara_privacy::accounting::{Accountant, Composition, Mechanism};

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lock().lines() {
        let line = line?;
        let fields: Vec<&str> = line.split(',').collect();
        let [noise, rate, steps, delta, ..] = fields.as_slice() else { continue };
        if line.starts_with('#') {
            continue;
        }
        let mechanism = Mechanism::sampled_gaussian(noise.parse()?, rate.parse()?)?;
        let all = Composition::new().and(mechanism, steps.parse()?);
        let delta: f64 = delta.parse()?;
        let before = Instant::now();
        let rdp = all.epsilon(delta, Accountant::Rdp)?;
        let between = before.elapsed();
        let pld =
            all.epsilon(delta, Accountant::Pld).map_or_else(|error| error.to_string(), |epsilon| epsilon.to_string());
        println!("{line},{rdp},{pld},{:.3},{:.3}", between.as_secs_f64(), (before.elapsed() - between).as_secs_f64());
    }
    Ok(())
}
