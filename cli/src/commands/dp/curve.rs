//! ε over steps, as rows of text.

use super::super::output::grouped;

/// What is spent after how many steps, ascending.
pub struct Curve {
    pub points: Vec<(u64, f64)>,
}

impl Curve {
    fn most(&self) -> f64 {
        self.points.iter().map(|(_, epsilon)| *epsilon).fold(0.0, f64::max)
    }

    /// From nothing on, with more points: straight lines between them are nowhere below what is spent, as lines between these
    /// would be where the curve bends down.
    pub fn never_below(&self) -> Vec<(u64, f64)> {
        let mut all = vec![(0, 0.0)];
        for &(at, spent) in &self.points {
            let before = all.last().map_or(0, |(at, _)| *at);
            if before + 1 < at {
                all.push((before + 1, spent));
            }
            all.push((at, spent));
        }
        all
    }

    /// Rows of bars that are no wider than `width` columns.
    pub fn chart(&self, width: usize) -> Vec<String> {
        let most = self.most();
        let labels: Vec<(String, String)> =
            self.points.iter().map(|(at, epsilon)| (grouped(*at), format!("{epsilon:.3}"))).collect();
        let widest = |which: fn(&(String, String)) -> &String| labels.iter().map(|l| which(l).chars().count()).max();
        let (left, right) = (widest(|l| &l.0).unwrap_or(0).max(5), widest(|l| &l.1).unwrap_or(0));
        let room = width.saturating_sub(left + right + 3).max(1);
        let head = format!("{:>left$}  ε", "steps");
        let rows = self.points.iter().zip(&labels).map(|((_, epsilon), (at, shown))| {
            let part = if most > 0.0 { epsilon / most } else { 0.0 };
            let bar = "█".repeat(((part * room as f64).round() as usize).min(room));
            format!("{at:>left$}  {bar} {shown}")
        });
        std::iter::once(head).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_nowhere_below_what_is_spent() {
        let spent = |at: u64| (at as f64).sqrt();
        let curve = Curve { points: [1, 2, 10, 100].map(|at| (at, spent(at))).into() };
        let drawn = curve.never_below();
        for at in 1..=100 {
            let next = drawn.iter().position(|(there, _)| *there >= at).unwrap();
            let ((a, low), (b, high)) = (drawn[next - 1], drawn[next]);
            let line = low + (high - low) * (at - a) as f64 / (b - a) as f64;
            assert!(line >= spent(at), "{at}: {line}");
        }
    }

    #[test]
    fn a_chart_fits_its_columns_and_nothing_spent_is_no_bar() {
        let curve = Curve { points: vec![(1, 0.0), (1_000_000, 123_456.789), (2_000_000, 200_000.0)] };
        let rows = curve.chart(80);
        assert!(rows.len() == 4 && rows.iter().all(|row| row.chars().count() <= 80), "{rows:#?}");
        assert!(!rows[1].contains('█') && rows[3].chars().count() == 80, "{rows:#?}");
        let none = Curve { points: vec![(5, 0.0)] };
        assert!(none.chart(80)[1].ends_with(" 0.000"));
    }
}
