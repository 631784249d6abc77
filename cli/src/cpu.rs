//! Processor time and wall time of this process.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far, all threads.
pub fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // The clock counts from zero upwards, so both parts are non-negative.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Measures a stretch of work.
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: process_cpu() }
    }

    /// Wall seconds since the start.
    pub fn wall_seconds(&self) -> f64 {
        self.wall.elapsed().as_secs_f64()
    }

    /// Processor seconds of this process since the start.
    pub fn cpu_seconds(&self) -> f64 {
        process_cpu().saturating_sub(self.cpu).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time() {
        let watch = Stopwatch::start();
        let mut x = 1u64;
        // On a busy machine this thread may wait long for its turn.
        while watch.cpu_seconds() <= 0.01 && watch.wall_seconds() < 30.0 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
        }
        assert!(watch.cpu_seconds() > 0.01, "{x}");
    }
}
