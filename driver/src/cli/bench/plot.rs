//! A picture of a run: latency by percentile above, throughput over its seconds below.

use std::error::Error;

use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Options;
use super::load::SECOND;
use super::report::Report;

const SIZE: (u32, u32) = (960, 860);
const MARGIN: i32 = 16;
/// Pixels for the labels of the axes.
const LEFT: u32 = 84;
const BELOW: u32 = 48;

const FONT: (&str, i32) = ("sans-serif", 15);
const TITLE: (&str, i32) = ("sans-serif", 19);

/// Colours that people who see few colours tell apart, too.
const READS: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const WRITES: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

/// How often the histogram is looked at for each halving of the distance to 100 %.
const STEPS: u32 = 10;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// The picture as SVG.
pub(super) fn draw(report: &Report<'_>) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (above, below) = area.split_vertically(SIZE.1 * 11 / 20);
        draw_latency(&above, report)?;
        draw_throughput(&below, report)?;
        area.present()?;
    }
    Ok(svg)
}

fn colour(kind: &str) -> RGBColor {
    if kind == "reads" { READS } else { WRITES }
}

fn draw_latency(area: &Area<'_>, report: &Report<'_>) -> Drawn {
    let curves: Vec<_> = report
        .kinds()
        .filter(|(_, answers)| answers.commands() > 0)
        .map(|(kind, answers)| (kind, curve(&answers.latency)))
        .collect();
    let points = || curves.iter().flat_map(|(_, curve)| curve);
    let most = points().map(|(rarity, _)| *rarity).fold(10.0, f64::max);
    let least = points().map(|(_, latency)| *latency).fold(f64::MAX, f64::min);
    let (bottom, top) = decades(least, points().map(|(_, latency)| *latency).fold(least, f64::max));
    let rarities: Vec<f64> =
        (0..10).map(|power| 10_f64.powi(power)).take_while(|rarity| *rarity <= most).collect();
    let latencies = marks(bottom, top);
    let rarity_axis = (1.0..most).log_scale().with_key_points(rarities);
    let latency_axis = (bottom..top).log_scale().with_key_points(latencies);
    let mut chart = ChartBuilder::on(area)
        .caption(title(report.options), TITLE)
        .margin(MARGIN)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
        .build_cartesian_2d(rarity_axis, latency_axis)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_desc("percentile")
        .x_label_formatter(&|rarity| percentile(*rarity))
        .y_label_formatter(&|micros| duration(*micros))
        .draw()?;
    for (kind, curve) in curves {
        let style = colour(kind).stroke_width(2);
        let line = chart.draw_series(LineSeries::new(curve, style))?;
        line.label(kind).legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font(FONT)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .legend_area_size(32)
        .draw()?;
    Ok(())
}

fn title(options: &Options) -> String {
    let Options { connections, pipeline, reads, .. } = options;
    let pace = options.rate.map(|rate| format!(", {rate} due each second")).unwrap_or_default();
    format!("Latency by percentile ({connections} connections × {pipeline}, {reads} % reads{pace})")
}

/// For every percentile `1 / (1 - percentile)` and the latency in microseconds.
fn curve(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let most = latency.len() as f64;
    let steps = latency.iter_quantiles(STEPS).map(|step| {
        let rarity = 1.0 / (1.0 - step.quantile_iterated_to()).max(1.0 / most);
        (rarity, step.value_iterated_to() as f64 / 1e3)
    });
    steps.collect()
}

fn draw_throughput(area: &Area<'_>, report: &Report<'_>) -> Drawn {
    let lines: Vec<_> =
        report.kinds().map(|(kind, answers)| (kind, rates(&answers.each_second, report.seconds()))).collect();
    let points = || lines.iter().flat_map(|(_, line)| line);
    let most = points().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption("Replies per second", TITLE)
        .margin(MARGIN)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
        .build_cartesian_2d(0.0..report.seconds(), 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_desc("seconds")
        .y_label_formatter(&|rate| count(*rate))
        .draw()?;
    for (kind, line) in lines {
        chart.draw_series(LineSeries::new(line, colour(kind).stroke_width(2)))?;
    }
    Ok(())
}

/// The rate of each second, as steps. The last second may be a part of one.
fn rates(each_second: &[u64], seconds: f64) -> Vec<(f64, f64)> {
    let mut line = Vec::new();
    for second in 0..seconds.ceil() as usize {
        let (begin, end) = (second as f64, seconds.min(second as f64 + 1.0));
        let replies = each_second.get(second).copied().unwrap_or(0);
        let rate = replies as f64 / (end - begin).max(1.0 / SECOND as f64);
        line.extend([(begin, rate), (end, rate)]);
    }
    line
}

/// The powers of ten around a range; at least one decade.
fn decades(least: f64, most: f64) -> (f64, f64) {
    let bottom = 10_f64.powf(least.max(0.001).log10().floor());
    let top = 10_f64.powf(most.log10().ceil());
    (bottom, top.max(bottom * 10.0))
}

/// Where a logarithmic axis is labelled: at powers of ten, and at twice and five times them if that leaves room.
fn marks(bottom: f64, top: f64) -> Vec<f64> {
    let steps: &[f64] = if top / bottom > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = (0..).map(|power| bottom * 10_f64.powi(power)).take_while(|decade| *decade <= top * 1.01);
    decades
        .flat_map(|decade| steps.iter().map(move |step| decade * step))
        .filter(|mark| *mark <= top * 1.01)
        .collect()
}

fn percentile(rarity: f64) -> String {
    let percent = 100.0 - 100.0 / rarity;
    let digits = (rarity.log10().round() as usize).saturating_sub(2);
    format!("{percent:.digits$} %")
}

fn duration(micros: f64) -> String {
    match micros {
        _ if micros < 1.0 => format!("{:.0} ns", micros * 1e3),
        _ if micros < 1e3 => format!("{micros:.0} µs"),
        _ if micros < 1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.0} s", micros / 1e6),
    }
}

fn count(number: f64) -> String {
    match number {
        _ if number >= 1e6 => format!("{:.2} M", number / 1e6),
        _ if number >= 1e4 => format!("{:.0} k", number / 1e3),
        _ if number >= 1e3 => format!("{:.1} k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_labelled_in_round_numbers() {
        assert_eq!(decades(87.0, 4_300.0), (10.0, 10_000.0));
        assert_eq!(decades(100.0, 100.0), (100.0, 1000.0));
        assert_eq!(marks(10.0, 100.0), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(marks(1.0, 1e5).len(), 6);
        let percentiles = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5].map(percentile);
        assert_eq!(percentiles, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert_eq!([0.5, 20.0, 5e3, 2e6].map(duration), ["500 ns", "20 µs", "5 ms", "2 s"]);
        assert_eq!([7.0, 2500.0, 84_000.0, 1.25e6].map(count), ["7", "2.5 k", "84 k", "1.25 M"]);
    }

    #[test]
    fn the_last_second_may_be_a_part_of_one() {
        assert_eq!(rates(&[10, 20], 1.5), [(0.0, 10.0), (1.0, 10.0), (1.0, 40.0), (1.5, 40.0)]);
        // A second without a reply is a second at 0.
        assert_eq!(rates(&[10], 2.0), [(0.0, 10.0), (1.0, 10.0), (1.0, 0.0), (2.0, 0.0)]);
    }

    #[test]
    fn a_curve_ends_at_the_slowest_command() {
        let mut latency = Histogram::new_with_max(SECOND, 3).unwrap();
        (1..=1000).for_each(|micros| latency.record(micros * 1000).unwrap());
        let curve = curve(&latency);
        assert!(curve.is_sorted());
        let (rarity, micros) = curve[curve.len() - 1];
        assert_eq!((rarity, micros.round()), (1000.0, 1000.0));
    }
}
