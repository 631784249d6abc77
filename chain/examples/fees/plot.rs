//! Base fee and gas used by block, as an SVG.

use sahara_chain::fees::FeeParams;

use crate::Point;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 60.0;
const FEE_HEIGHT: f64 = 280.0;
const GAP: f64 = 50.0;
const GAS_HEIGHT: f64 = 110.0;

/// The drawing.
pub fn svg(fees: &FeeParams, points: &[Point], phases: &[(&str, u64)]) -> String {
    let height = TOP + FEE_HEIGHT + GAP + GAS_HEIGHT + 50.0;
    let x = |block: f64| LEFT + block * (WIDTH - LEFT - RIGHT) / points.len() as f64;
    // The price moves by factors, so its axis is logarithmic.
    let gwei = |fee: u64| fee as f64 / 1e9;
    let highest = points.iter().map(|p| gwei(p.base_fee)).fold(1.0, f64::max);
    let (low, high) = (gwei(fees.min_base_fee).log10() - 0.1, highest.log10() + 0.1);
    let y_fee = |price: f64| TOP + FEE_HEIGHT * (1.0 - (price.log10() - low) / (high - low));
    let gas_top = TOP + FEE_HEIGHT + GAP;
    let y_gas = |part: f64| gas_top + GAS_HEIGHT * (1.0 - part);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#333\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, size: u32, words: &str| {
        out +=
            &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}</text>\n");
    };
    text(LEFT, 22.0, "start", 16, "Price of gas under changing demand");
    let bound = format!(
        "one block moves the base fee by 1/{} at most; the floor is {} Gwei",
        fees.base_fee_denominator,
        gwei(fees.min_base_fee)
    );
    text(LEFT, 40.0, "start", 12, &bound);
    text(LEFT, TOP + FEE_HEIGHT + GAP - 8.0, "start", 12, "gas used, part of the limit");
    text(WIDTH - RIGHT, height - 12.0, "end", 12, "block");
    let mut lines = String::new();
    for price in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0] {
        if price <= highest * 1.2 {
            text(LEFT - 8.0, y_fee(price) + 4.0, "end", 12, &format!("{price} Gwei"));
            lines += &line(LEFT, y_fee(price), WIDTH - RIGHT, y_fee(price), "#ddd");
        }
    }
    for part in [0.0, 0.5, 1.0] {
        text(LEFT - 8.0, y_gas(part) + 4.0, "end", 12, &format!("{:.0} %", part * 100.0));
        lines += &line(LEFT, y_gas(part), WIDTH - RIGHT, y_gas(part), "#ddd");
    }
    let mut block = 0.0;
    for (index, (name, blocks)) in phases.iter().enumerate() {
        // Neighbours at two heights, so that long names do not meet.
        let low = if index % 2 == 0 { 0.0 } else { 15.0 };
        text(x(block) + 4.0, TOP + 12.0 + low, "start", 11, name);
        text(x(block), gas_top + GAS_HEIGHT + 18.0, "middle", 12, &format!("{block:.0}"));
        lines += &line(x(block), TOP, x(block), gas_top + GAS_HEIGHT, "#bbb");
        block += *blocks as f64;
    }
    out += &lines;
    let path = |y: &dyn Fn(&Point) -> f64| -> String {
        let spots = points.iter().enumerate().map(|(i, p)| format!("{:.1},{:.1}", x(i as f64), y(p)));
        spots.collect::<Vec<_>>().join(" ")
    };
    let part = |p: &Point| p.gas_used as f64 / fees.block_gas_limit as f64;
    for (colour, spots) in [("#1f6feb", path(&|p| y_fee(gwei(p.base_fee)))), ("#d1710f", path(&|p| y_gas(part(p))))] {
        out += &format!("<polyline points=\"{spots}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>\n");
    }
    out + "</svg>\n"
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>\n")
}
