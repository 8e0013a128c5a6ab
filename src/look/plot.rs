//! Plots as SVG. Colours are middle tones, which stand out on white and on black; the page's style
//! sets those of texts.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::look::page::Plot;
use crate::look::words::thousands;
use lvd_base::error::{Error, Result};

const SIZE: (u32, u32) = (760, 300);
const GREY: RGBColor = RGBColor(138, 143, 152);
const RED: RGBColor = RGBColor(200, 72, 61);
/// The colours of the page's style, `.c0` and on.
const COLOURS: [RGBColor; 5] = [
    RGBColor(59, 130, 196),
    RGBColor(217, 130, 43),
    RGBColor(63, 157, 90),
    RGBColor(142, 107, 191),
    RGBColor(138, 143, 152),
];
/// The least count that a logarithmic axis shows, so that a bar of 1 is seen.
const LEAST: f64 = 0.7;

/// A bin of a histogram.
pub struct Bin {
    /// Its lower edge.
    pub low: f64,
    /// Its upper edge.
    pub high: f64,
    /// Values in it.
    pub count: u64,
}

/// A line of a plot.
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its points; all above zero.
    pub points: Vec<(f64, f64)>,
}

/// What stands at the axes.
pub struct Axes<'a> {
    /// Of the horizontal one.
    pub x: &'a str,
    /// Of the vertical one.
    pub y: &'a str,
}

/// A histogram with a logarithmic count, and a red line at `mark`.
pub fn histogram(caption: &str, axes: &Axes, bins: &[Bin], mark: Option<(f64, &str)>) -> Result<Plot> {
    let (Some(first), Some(last)) = (bins.first(), bins.last()) else { return Ok(empty(caption)) };
    let most = real(bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(2)) * 1.6;
    let x = first.low..last.high.max(first.low + 1e-6);
    draw(caption, |area| {
        let mut chart = chart(area, x.clone(), (LEAST..most).log_scale())?;
        mesh(&mut chart, axes, &|x| format!("{x:.2}"))?;
        let bars = bins.iter().filter(|bin| bin.count > 0).map(|bin| {
            let gap = 0.1 * (bin.high - bin.low);
            Rectangle::new([(bin.low + gap, LEAST), (bin.high - gap, real(bin.count))], COLOURS[0].filled())
        });
        chart.draw_series(bars).map_err(fault)?;
        if let Some((at, words)) = mark {
            let line = PathElement::new([(at, LEAST), (at, most)], RED.stroke_width(2));
            chart.draw_series([line]).map_err(fault)?;
            // Where there is more room.
            let left = at > f64::midpoint(x.start, x.end);
            let shift = if left { -6 - 6 * i32::try_from(words.len()).unwrap_or(0) } else { 6 };
            let style = ("sans-serif", 13).into_font().color(&RED);
            let text = EmptyElement::at((at, most)) + Text::new(words.to_owned(), (shift, 2), style);
            chart.draw_series([text]).map_err(fault)?;
        }
        Ok(())
    })
}

/// Lines on two logarithmic axes: sizes by rank.
pub fn by_rank(caption: &str, axes: &Axes, lines: &[Line]) -> Result<Plot> {
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return Ok(empty(caption));
    }
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(2.0, f64::max) * 1.2;
    let least = points().map(|point| point.1).fold(1.0, f64::min) * 0.8;
    draw(caption, |area| {
        let mut chart = chart(area, (1.0..most(|p| p.0)).log_scale(), (least..most(|p| p.1)).log_scale())?;
        mesh(&mut chart, axes, &|x| count(*x))?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let colour = *colour;
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))
                .map_err(fault)?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3)));
        }
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        let labels = chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).label_font(style).draw();
        labels.map_err(fault)
    })
}

/// Sizes as points of a line by rank, the largest first: all of a few, and fewer and fewer of many.
/// Nothing is left out at the ends.
#[must_use]
pub fn ranked(mut sizes: Vec<u64>) -> Vec<(f64, f64)> {
    sizes.retain(|&size| size > 0);
    sizes.sort_unstable_by_key(|&size| std::cmp::Reverse(size));
    let mut points = Vec::new();
    let mut at = 0;
    while let Some(&size) = sizes.get(at) {
        points.push((real(at as u64 + 1), real(size)));
        let next = at + 1 + at / 50;
        at = if next >= sizes.len() && at + 1 < sizes.len() { sizes.len() - 1 } else { next };
    }
    points
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, X, Y> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<<X as AsRangedCoord>::CoordDescType, <Y as AsRangedCoord>::CoordDescType>,
>;

fn draw(caption: &str, plot: impl FnOnce(&Area) -> Result<()>) -> Result<Plot> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        plot(&area)?;
        area.present().map_err(fault)?;
    }
    // Inside of HTML no name space is needed, and a page has no address in it.
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", " role=\"img\"", 1);
    Ok(Plot { caption: caption.to_owned(), svg })
}

fn chart<'a, 'b, X, Y>(area: &'a Area<'b>, x: X, y: Y) -> Result<Chart<'a, 'b, X, Y>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
{
    let mut builder = ChartBuilder::on(area);
    builder.margin(8).margin_right(24).x_label_area_size(40).y_label_area_size(64);
    builder.build_cartesian_2d(x, y).map_err(fault)
}

fn mesh<X, Y>(
    chart: &mut ChartContext<SVGBackend, Cartesian2d<X, Y>>,
    axes: &Axes,
    x_label: &dyn Fn(&f64) -> String,
) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let style = ("sans-serif", 13).into_font().color(&BLACK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .y_labels(5)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.25))
        .axis_style(GREY)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(x_label)
        .y_label_formatter(&|y| count(*y))
        .label_style(style.clone())
        .axis_desc_style(style)
        .draw()
        .map_err(fault)
}

/// A plot of nothing.
fn empty(caption: &str) -> Plot {
    Plot { caption: format!("{caption}: nothing to draw"), svg: String::new() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "labels are whole numbers above zero")]
fn count(x: f64) -> String {
    if x < 1.0 { format!("{x:.2}") } else { thousands(x.round() as u64) }
}

#[expect(clippy::cast_precision_loss, reason = "a point of a plot")]
pub(super) fn real(n: u64) -> f64 {
    n as f64
}

fn fault(error: impl std::fmt::Display) -> Error {
    Error::native("plotters", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_by_rank_are_few_points() {
        assert_eq!(ranked(vec![3, 0, 9, 4]), [(1.0, 9.0), (2.0, 4.0), (3.0, 3.0)]);
        let many = ranked((1..=1_000_000).collect());
        assert!(many.len() < 1000 && many.last() == Some(&(1e6, 1.0)), "{}", many.len());
        assert!(ranked(Vec::new()).is_empty());
    }

    #[test]
    fn a_plot_has_no_address_in_it() -> Result<()> {
        let axes = Axes { x: "similarity", y: "pairs" };
        let bins = [Bin { low: 0.5, high: 0.75, count: 1 }, Bin { low: 0.75, high: 1.0, count: 300 }];
        let line = Line { name: "pool <b>".into(), points: ranked(vec![1, 5]) };
        for plot in [histogram("h", &axes, &bins, Some((0.7, "mark")))?, by_rank("r", &axes, &[line])?] {
            assert!(plot.svg.starts_with("<svg ") && !plot.svg.contains("http") && !plot.svg.contains("<b>"));
        }
        assert!(histogram("h", &axes, &[], None)?.svg.is_empty());
        Ok(())
    }
}
