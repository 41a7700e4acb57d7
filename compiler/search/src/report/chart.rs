//! Plots as SVG.

use super::{escape, number};
use std::fmt::Write;

pub struct Chart {
    pub x: String,
    pub y: String,
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: String,
    /// From left to right where there are steps between them.
    pub points: Vec<(f64, f64)>,
    pub steps: Option<Steps>,
    /// A dot for each point.
    pub dots: bool,
}

/// How a line gets from one point to the next. Between two points nothing was found, so that a straight line would show what is not there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steps {
    /// The height of a point holds up to the next: the best so far, a front of small numbers.
    Holds,
    /// The height of the next point begins at this one: a front of large numbers.
    Begins,
}

/// The corners of the line through the points.
fn corners(points: &[(f64, f64)], steps: Steps) -> Vec<(f64, f64)> {
    let between = points.windows(2).flat_map(|pair| {
        let corner = if steps == Steps::Holds { (pair[1].0, pair[0].1) } else { (pair[0].0, pair[1].1) };
        [corner, pair[1]]
    });
    points.first().copied().into_iter().chain(between).collect()
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
/// Room for the labels: left, bottom, elsewhere.
const LEFT: f64 = 80.0;
const BOTTOM: f64 = 46.0;
const EDGE: f64 = 14.0;
const COLOURS: [&str; 2] = ["#8fa3bf", "#c2410c"];

impl Chart {
    pub fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let (x, y) = (Axis::new(all().map(|p| p.0)), Axis::new(all().map(|p| p.1)));
        let place = |point: &(f64, f64)| {
            let (x, y) = (x.part(point.0), y.part(point.1));
            (LEFT + x * (WIDTH - LEFT - EDGE), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - EDGE))
        };
        let mut svg = open(HEIGHT);
        for tick in y.ticks() {
            let (_, at) = place(&(x.low, tick));
            let _ = write!(svg, "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e5e9ef\"/>", WIDTH - EDGE);
            svg.push_str(&text(LEFT - 8.0, at + 4.0, "end", &number(tick)));
        }
        for tick in x.ticks() {
            let (at, _) = place(&(tick, y.low));
            svg.push_str(&text(at, HEIGHT - BOTTOM + 18.0, "middle", &number(tick)));
        }
        svg.push_str(&text((LEFT + WIDTH) / 2.0, HEIGHT - 8.0, "middle", &self.x));
        svg.push_str(&text(LEFT, EDGE - 2.0, "start", &self.y));
        // Lines lie under the dots, so that they hide none.
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let Some(steps) = series.steps else { continue };
            let points: Vec<(f64, f64)> = series.points.iter().map(place).collect();
            let path: Vec<String> = corners(&points, steps).iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let path = path.join(" ");
            let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{path}\"/>");
        }
        for (series, colour) in self.series.iter().zip(COLOURS).filter(|(series, _)| series.dots) {
            for (x, y) in series.points.iter().map(place) {
                let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
            }
        }
        for (i, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            let at = WIDTH - 120.0 * (self.series.len() - i) as f64;
            let _ = write!(svg, "<circle cx=\"{at}\" cy=\"8\" r=\"4\" fill=\"{colour}\"/>");
            svg.push_str(&text(at + 9.0, 12.0, "start", &series.name));
        }
        svg + "</svg>"
    }
}

/// Horizontal bars of shares.
pub fn bars(shares: &[(String, f64)]) -> String {
    let (row, label) = (22.0, 330.0);
    let mut svg = open(shares.len() as f64 * row + 8.0);
    let most = shares.iter().map(|(_, share)| *share).fold(f64::MIN_POSITIVE, f64::max);
    for (i, (name, share)) in shares.iter().enumerate() {
        let y = i as f64 * row + 4.0;
        let width = share / most * (WIDTH - label - 70.0);
        svg.push_str(&text(label - 8.0, y + 14.0, "end", &shorten(name)));
        let _ = write!(svg, "<rect x=\"{label}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" fill=\"{}\"/>", COLOURS[1]);
        svg.push_str(&text(label + width + 6.0, y + 13.0, "start", &format!("{:.1} %", 100.0 * share)));
    }
    svg + "</svg>"
}

fn open(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-size=\"12\" font-family=\"system-ui,sans-serif\" fill=\"#1d2530\">"
    )
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(text))
}

/// The end of a path says most.
fn shorten(path: &str) -> String {
    const LONGEST: usize = 48;
    let count = path.chars().count();
    if count <= LONGEST { path.to_owned() } else { format!("…{}", path.chars().skip(count - LONGEST).collect::<String>()) }
}

struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>) -> Axis {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        if low > high {
            return Axis { low: 0.0, high: 1.0 };
        }
        // A little room, and some where all values are one.
        let room = if high > low { 0.03 * (high - low) } else { (0.05 * low.abs()).max(0.5) };
        Axis { low: low - room, high: high + room }
    }

    fn part(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// Round numbers inside.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let magnitude = libm::pow(10.0, libm::log10(rough).floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(steps[3]);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|tick| *tick <= self.high).take(12).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_show_nothing_between_points() {
        let points = [(0.0, 3.0), (1.0, 2.0), (4.0, 1.0)];
        let holds = [(0.0, 3.0), (1.0, 3.0), (1.0, 2.0), (4.0, 2.0), (4.0, 1.0)];
        let begins = [(0.0, 3.0), (0.0, 2.0), (1.0, 2.0), (1.0, 1.0), (4.0, 1.0)];
        assert_eq!(corners(&points, Steps::Holds), holds);
        assert_eq!(corners(&points, Steps::Begins), begins);
        assert!(corners(&[], Steps::Holds).is_empty());
    }

    #[test]
    fn a_line_hides_no_dot() {
        let series = |steps, dots| Series { name: "s".into(), points: vec![(0.0, 1.0), (2.0, 3.0)], steps, dots };
        let chart = Chart { x: "x".into(), y: "y".into(), series: vec![series(None, true), series(Some(Steps::Holds), false)] };
        let svg = chart.svg();
        let line = svg.find("<polyline").unwrap();
        let dots: Vec<usize> = svg.match_indices("r=\"2.5\"").map(|(at, _)| at).collect();
        assert!(dots.len() == 2 && dots.iter().all(|dot| *dot > line), "{svg}");
    }
}
