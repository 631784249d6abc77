//! A curve as a picture, in SVG.

use std::fmt::Write as _;

use super::output::grouped;

/// A curve over steps, from 0 on in both directions.
pub struct Chart<'a> {
    /// Above the picture.
    pub title: &'a str,
    /// What is drawn.
    pub name: &'a str,
    /// Steps, ascending, and what is there; what is no finite number is left out.
    pub points: &'a [(u64, f64)],
}

const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 300.0;

impl Chart<'_> {
    /// A picture of 640 by 400.
    pub fn svg(&self) -> String {
        let points = || self.points.iter().filter(|(_, value)| value.is_finite());
        let last = self.points.last().map_or(1, |(at, _)| (*at).max(1)) as f64;
        let most = points().map(|(_, value)| *value).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let place = |at: f64, value: f64| (LEFT + WIDTH * at / last, TOP + HEIGHT * (1.0 - value.max(0.0) / most));
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 400\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"640\" height=\"400\" fill=\"white\"/>\n",
        );
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"24\">{}</text>", escaped(self.title));
        for quarter in 0..=4 {
            let part = f64::from(quarter) / 4.0;
            let (x, y) = place(part * last, part * most);
            let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}h{WIDTH}M{x:.1} {TOP}v{HEIGHT}\" stroke=\"#ddd\"/>");
            let (left, low, value) = (LEFT - 8.0, y + 4.0, part * most);
            let _ = writeln!(svg, "<text x=\"{left:.1}\" y=\"{low:.1}\" text-anchor=\"end\">{value:.3}</text>");
            let (steps, foot) = (grouped((part * last).round() as u64), TOP + HEIGHT + 20.0);
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{foot:.1}\" text-anchor=\"middle\">{steps}</text>");
        }
        let line: Vec<String> =
            points().map(|&(at, value)| place(at as f64, value)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let line = line.join(" ");
        let _ = writeln!(svg, "<polyline points=\"{line}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\"/>");
        let (middle, foot) = (LEFT + WIDTH / 2.0, TOP + HEIGHT + 45.0);
        let _ = writeln!(svg, "<text x=\"{middle:.1}\" y=\"{foot:.1}\" text-anchor=\"middle\">steps</text>");
        // Above the numbers of its axis.
        let _ = writeln!(svg, "<text x=\"12\" y=\"24\">{}</text>\n</svg>", escaped(self.name));
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
    fn a_curve_goes_from_left_to_right_within_its_frame() {
        let svg = |points| Chart { title: "<&>", name: "loss", points }.svg();
        let drawn = svg(&[(1, 2.0), (50, f64::NAN), (100, 0.5)]);
        assert!(drawn.contains("points=\"75.4,40.0 610.0,265.0\"") && drawn.contains("&lt;&amp;&gt;"), "{drawn}");
        let heights = |anchor: &str| {
            let of = |line: &str| line.split("y=\"").nth(1)?.split('"').next()?.parse::<f64>().ok();
            drawn.lines().filter(|line| line.contains(anchor)).filter_map(of).collect::<Vec<_>>()
        };
        let (name, numbers) = (heights("x=\"12\""), heights("text-anchor=\"end\""));
        assert!(name.len() == 1 && numbers.len() == 5, "{drawn}");
        assert!(numbers.iter().all(|number| (number - name[0]).abs() > 13.0), "the name is on a number: {drawn}");
        assert!(svg(&[]).ends_with("</svg>\n") && !svg(&[(5, 0.0)]).contains("NaN"));
    }
}
