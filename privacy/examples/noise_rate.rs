//! Samples of noise in a CPU-second, on one thread: `cargo run --release -p sahara-privacy --example noise_rate`.

use std::error::Error;

use rustix::time::{ClockId, clock_gettime};
use sahara_privacy::noise::{DiscreteGaussian, DiscreteLaplace, Generator, Skellam};

/// What is drawn together, as for a step of training.
const SAMPLES: usize = 75_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut generator = Generator::from_seed([7; 32]);
    let mut bytes = vec![0; 16 * 256];
    measure("16 random bytes alone", 0.0, |numbers| (0..numbers.len() / 256).for_each(|_| generator.fill(&mut bytes)));
    for sigma in [1.0, 4.0, 10.0, 100.0, 1e4, 1e6] {
        let noise = DiscreteGaussian::new(sigma)?;
        measure(&format!("discrete Gaussian, σ = {sigma}"), noise.distance(), |numbers| {
            noise.fill(&mut generator, numbers)
        });
    }
    for variance in [100.0, 1e4, 1e6] {
        let noise = Skellam::new(variance)?;
        measure(&format!("Skellam, variance {variance}"), noise.distance(), |numbers| {
            noise.fill(&mut generator, numbers)
        });
    }
    let noise = DiscreteLaplace::new(1000.0)?;
    measure("discrete Laplace, scale 1000", noise.distance(), |numbers| noise.fill(&mut generator, numbers));
    Ok(())
}

fn measure(what: &str, distance: f64, mut fill: impl FnMut(&mut [i64])) {
    let mut numbers = vec![0; SAMPLES];
    let (mut drawn, start) = (0, cpu_seconds());
    while cpu_seconds() - start < 0.3 {
        fill(&mut numbers);
        drawn += numbers.len();
    }
    let rate = drawn as f64 / (cpu_seconds() - start) / 1e6;
    println!("{what:<32} {rate:>8.2} M samples/CPU-s, off by at most {distance:.1e}");
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
