//! ε over steps, as rows of text and as a picture.

use std::fmt::Write as _;

use super::super::output::grouped;

/// What is spent after how many steps, ascending.
pub struct Curve {
    pub points: Vec<(u64, f64)>,
}

impl Curve {
    fn most(&self) -> f64 {
        self.points.iter().map(|(_, epsilon)| *epsilon).fold(0.0, f64::max)
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

    /// An SVG of 640 by 400.
    pub fn picture(&self, title: &str) -> String {
        let (left, top, width, height) = (70.0, 40.0, 540.0, 300.0);
        let last = self.points.last().map_or(1, |(at, _)| (*at).max(1)) as f64;
        let most = if self.most() > 0.0 { self.most() } else { 1.0 };
        let place = |at: f64, epsilon: f64| (left + width * at / last, top + height * (1.0 - epsilon / most));
        let mut line = String::new();
        for (at, epsilon) in std::iter::once((0.0, 0.0)).chain(self.points.iter().map(|(at, e)| (*at as f64, *e))) {
            let (x, y) = place(at, epsilon);
            let _ = write!(line, "{x:.1},{y:.1} ");
        }
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 400\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"640\" height=\"400\" fill=\"white\"/>\n",
        );
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"24\">{}</text>", escaped(title));
        for quarter in 0..=4 {
            let part = f64::from(quarter) / 4.0;
            let (x, y) = place(part * last, part * most);
            let _ = writeln!(svg, "<path d=\"M{left} {y:.1}h{width}M{x:.1} {top}v{height}\" stroke=\"#ddd\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.2}</text>",
                left - 8.0,
                y + 4.0,
                part * most
            );
            let steps = grouped((part * last).round() as u64);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{steps}</text>",
                top + height + 20.0
            );
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\"/>",
            line.trim_end()
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">steps</text>",
            left + width / 2.0,
            top + height + 45.0
        );
        let _ = writeln!(svg, "<text x=\"20\" y=\"{:.1}\">ε</text>\n</svg>", top + height / 2.0);
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_fits_its_columns_and_nothing_spent_is_no_bar() {
        let curve = Curve { points: vec![(1, 0.0), (1_000_000, 123_456.789), (2_000_000, 200_000.0)] };
        let rows = curve.chart(80);
        assert!(rows.len() == 4 && rows.iter().all(|row| row.chars().count() <= 80), "{rows:#?}");
        assert!(!rows[1].contains('█') && rows[3].chars().count() == 80, "{rows:#?}");
        let none = Curve { points: vec![(5, 0.0)] };
        assert!(none.chart(80)[1].ends_with(" 0.000") && !none.picture("<&>").contains("NaN"));
        assert!(none.picture("<&>").contains("&lt;&amp;&gt;"));
    }
}
