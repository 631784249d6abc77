//! The learning curve as a picture.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 48.0;

/// Loss over steps.
pub fn curve(points: &[(u64, f64)]) -> String {
    let steps = points.last().map_or(1, |&(step, _)| step).max(1) as f64;
    let most = points.iter().map(|&(_, loss)| loss).filter(|loss| loss.is_finite()).fold(0.0_f64, f64::max).max(1e-9);
    let x = |step: f64| MARGIN + step / steps * (WIDTH - 2.0 * MARGIN);
    let y = |loss: f64| HEIGHT - MARGIN - loss.clamp(0.0, most) / most * (HEIGHT - 2.0 * MARGIN);
    let mut line = String::new();
    for &(step, loss) in points.iter().filter(|(_, loss)| loss.is_finite()) {
        let _ = write!(line, "{:.1},{:.1} ", x(step as f64), y(loss));
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Loss of the batches over steps; for the owner of the data alone</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for part in 0..=4 {
        let part = f64::from(part) / 4.0;
        let (left, right, at) = (MARGIN, WIDTH - MARGIN, y(part * most));
        let _ = writeln!(svg, "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.3}</text>",
            left - 6.0,
            at + 4.0,
            part * most
        );
        let (step, foot) = (part * steps, HEIGHT - MARGIN + 18.0);
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{foot}\" text-anchor=\"middle\">{step:.0}</text>", x(step));
    }
    let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"24\">loss over steps</text>");
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"#1f5fbf\" stroke-width=\"1.5\" points=\"{}\"/>\n</svg>",
        line.trim_end()
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_left_to_right_within_its_frame() {
        let svg = curve(&[(1, 2.0), (50, f64::NAN), (100, 0.5)]);
        assert!(svg.contains("points=\"53.4,48.0 592.0,246.0\""), "{svg}");
        assert!(curve(&[]).ends_with("</svg>\n"));
    }
}
