//! Plots as SVG. Text is left to whoever shows them: no fonts are needed to make them.

use std::path::Path;

use anyhow::anyhow;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::{Line, Plot, Scale};

const SIZE: (u32, u32) = (900, 420);
const COLORS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 94, 14),
    RGBColor(44, 140, 60),
    RGBColor(150, 60, 160),
    RGBColor(120, 120, 120),
    RGBColor(190, 30, 45),
];

/// `title` is written above it.
pub(crate) fn write(plot: &Plot, title: &str, path: &Path) -> anyhow::Result<()> {
    let text = svg(plot, title)?;
    std::fs::write(path, text).map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

pub(super) fn svg(plot: &Plot, title: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    draw(plot, title, &root).map_err(|error| anyhow!("cannot draw {title}: {error}"))?;
    drop(root);
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(plot: &Plot, title: &str, root: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let all = || plot.lines.iter().flat_map(|line| &line.points);
    let fold = |values: &mut dyn Iterator<Item = f64>| {
        values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
    };
    let (left, right) = fold(&mut all().map(|point| point.0));
    let (low, high) = fold(&mut all().map(|point| point.1));
    // Without a range plotters does not come back.
    let (left, low, high) = (finite(left, 0.0), finite(low, 0.001), finite(high, 1.0));
    let right = if right > left && right.is_finite() { right } else { left + 1.0 };
    let mut chart = ChartBuilder::on(root);
    chart
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(40)
        .y_label_area_size(72);
    match plot.scale {
        Scale::Linear => {
            let high = if high > 0.0 { high * 1.08 } else { 1.0 };
            curves(&mut chart, plot, left..right, 0.0..high, &|x| format!("{x}"))
        }
        Scale::Percentiles => {
            let y = (low.max(0.001) * 0.8..high.max(0.002) * 1.3).log_scale();
            curves(&mut chart, plot, left..right, y, &percentile)
        }
    }?;
    root.present()?;
    Ok(())
}

fn curves<X, Y>(
    chart: &mut ChartBuilder<'_, '_, SVGBackend<'_>>,
    plot: &Plot,
    x: X,
    y: Y,
    x_label: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn std::error::Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = chart.build_cartesian_2d(x, y)?;
    let y_label = |y: &f64| super::table::Figure(*y).to_string();
    chart
        .configure_mesh()
        .x_desc(plot.x.as_str())
        .y_desc(plot.y.as_str())
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .light_line_style(WHITE)
        .draw()?;
    for (line, color) in plot.lines.iter().zip(COLORS.into_iter().cycle()) {
        chart
            .draw_series(LineSeries::new(known(line), color.stroke_width(2)))?
            .label(line.label.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    Ok(())
}

fn known(line: &Line) -> impl Iterator<Item = (f64, f64)> {
    line.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
}

fn finite(value: f64, otherwise: f64) -> f64 {
    if value.is_finite() { value } else { otherwise }
}

/// 0, 1, 2, 3 nines: 0 %, 90 %, 99 %, 99.9 %.
fn percentile(nines: &f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    let digits = (nines.ceil() as usize).saturating_sub(2);
    format!("{percent:.digits$}%")
}
