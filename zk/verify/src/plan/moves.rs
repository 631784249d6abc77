//! Elements at other places: columns cut out, side by side, and as heads.

use super::*;

impl Planner<'_> {
    pub(super) fn moved(&mut self, parts: Vec<TensorId>, to: Move, shape: Shape) -> Result<TensorId, String> {
        for &part in &parts {
            let from = self.shape(part);
            let places = u64::from(from.batch) * u64::from(from.cols);
            if places > MAX_MOVED {
                return Err(format!("{places} columns to move, more than the limit of {MAX_MOVED}"));
            }
        }
        let intervals = parts.iter().map(|&part| self.interval(part));
        let interval = intervals.reduce(Interval::around).unwrap_or(Interval::new(0, 0));
        Ok(self.push(shape, interval, Definition::Moved { parts, to }))
    }
}
