//! Numbers to positions, and the ticks of an axis.

use super::Axis;

/// Numbers beyond it are placed nowhere: their differences would overflow.
const GREATEST: f64 = 1e300;

/// A range of numbers laid along a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AxisScale {
    /// The range, `low < high`.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) log: bool,
}

/// A labelled place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// Whether a number can be placed.
pub(super) fn placeable(value: f64, log: bool) -> bool {
    value.abs() < GREATEST && (!log || value > 1.0 / GREATEST)
}

impl AxisScale {
    /// The scale that holds what can be placed of `values`, widened by `margin` of its length where the axis leaves its
    /// ends open; nothing where there is nothing to hold.
    pub(super) fn of(axis: &Axis, values: impl Iterator<Item = f64>, margin: f64) -> Option<Self> {
        let log = axis.log;
        let held = values.filter(|v| placeable(*v, log)).fold(None, |held: Option<(f64, f64)>, v| {
            Some(held.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
        });
        let (least, greatest) = held?;
        let from = axis.from.filter(|v| placeable(*v, log));
        let to = axis.to.filter(|v| placeable(*v, log));
        let (mut low, mut high) = (from.unwrap_or(least), to.unwrap_or(greatest));
        if low >= high || !log && high - low < 1.0 / GREATEST {
            (low, high) = match (log, low.abs().max(high.abs())) {
                (true, _) => ((high / 2.0).max(1.0 / GREATEST), (low * 2.0).min(GREATEST)),
                (false, size) if size < 1e10 / GREATEST => (-1.0, 1.0),
                (false, size) => (high - 0.5 * size, low + 0.5 * size),
            };
            return Some(Self { low, high, log });
        }
        let bare = Self { low, high, log };
        if from.is_none() && margin > 0.0 {
            low = bare.at(-margin).max(if log { 1.0 / GREATEST } else { -GREATEST });
        }
        if to.is_none() && margin > 0.0 {
            high = bare.at(1.0 + margin).min(GREATEST);
        }
        Some(Self { low, high, log })
    }

    /// Where a number lies: 0 at the lower end, 1 at the upper.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !placeable(value, self.log) {
            return None;
        }
        Some(if self.log {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        })
    }

    /// The number at a place.
    pub(super) fn at(&self, place: f64) -> f64 {
        if self.log {
            (self.low.ln() + place * (self.high.ln() - self.low.ln())).exp()
        } else {
            self.low + place * (self.high - self.low)
        }
    }

    /// Whether a number lies on the axis, ends included.
    fn holds(&self, value: f64) -> bool {
        let slack = 1e-9;
        self.place(value).is_some_and(|p| (-slack..=1.0 + slack).contains(&p))
    }

    /// Round numbers on the axis, about `wanted` of them.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<Tick> {
        if !self.log {
            return self.linear(wanted);
        }
        if let Some(doublings) = self.doublings(wanted) {
            return doublings;
        }
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = last - first;
        let stride = decades.div_euclid(wanted.max(1) as i32) + i32::from(decades % wanted.max(1) as i32 != 0);
        let powers: Vec<i32> = (first..=last).filter(|k| k.rem_euclid(stride.max(1)) == 0).collect();
        let at = |digit: f64, k: i32| digit * 10f64.powi(k);
        let mut places: Vec<f64> = powers.iter().map(|k| at(1.0, *k)).filter(|v| self.holds(*v)).collect();
        for digits in [&[1.0, 3.0][..], &[1.0, 2.0, 5.0]] {
            if places.len() >= wanted.min(3) {
                break;
            }
            let every = (first..=last).flat_map(|k| digits.iter().map(move |d| at(*d, k)));
            let finer: Vec<f64> = every.filter(|v| self.holds(*v)).collect();
            if finer.len() <= wanted + 1 {
                places = finer;
            }
        }
        if places.len() < 2 {
            return self.linear(wanted);
        }
        let plain = places.iter().all(|v| (0.9e-3..1.1e4).contains(v));
        let label = |v: f64| if plain { number(v, 10f64.powf(v.log10().floor())) } else { scientific(v, 0) };
        places.into_iter().map(|v| Tick { at: v, label: label(v) }).collect()
    }

    /// Powers of two, where they are few and the axis goes from about one to about another: widths and sizes.
    fn doublings(&self, wanted: usize) -> Option<Vec<Tick>> {
        let slack = 1e-9;
        let (first, last) = ((self.low.log2() - slack).ceil() as i32, (self.high.log2() + slack).floor() as i32);
        let few = (1..=wanted as i32 + 1).contains(&(last - first)) && first >= -10 && last <= 10;
        let near = |power: i32, end: f64| self.place(2f64.powi(power)).is_some_and(|p| (p - end).abs() < 0.05);
        let tick = |at: f64| Tick { at, label: at.to_string() };
        (few && near(first, 0.0) && near(last, 1.0)).then(|| (first..=last).map(|k| tick(2f64.powi(k))).collect())
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn linear(&self, wanted: usize) -> Vec<Tick> {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * power).into_iter().find(|s| *s >= 0.7 * rough);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.low / step - 1e-9).ceil();
        let places = (0..=2 * wanted.max(1)).map(|i| (first + i as f64) * step).filter(|v| self.holds(*v));
        let size = self.low.abs().max(self.high.abs());
        let plain = size < 1e5 && step > 0.9e-4;
        places.map(|v| Tick { at: v, label: if plain { number(v, step) } else { short(v, step) } }).collect()
    }
}

/// A number with as many decimals as its neighbour at a distance of `step` needs.
fn number(value: f64, step: f64) -> String {
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.decimals$}");
    let zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    text.trim_start_matches(if zero { "-" } else { "" }).replace('-', "−")
}

/// A multiple of `step` in scientific form.
fn short(value: f64, step: f64) -> String {
    if value.abs() < 0.5 * step {
        return "0".to_owned();
    }
    let digits = (value.abs().log10() + 1e-9).floor() - (step.log10() + 1e-9).floor();
    scientific(value, digits.clamp(0.0, 6.0) as usize)
}

/// `m × 10ᵏ`, with `digits` decimals in m; a mantissa of 1 is left out.
fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let raised: String = exponent.chars().map(superscript).collect();
    match mantissa {
        "1" => format!("10{raised}"),
        "-1" => format!("−10{raised}"),
        m => format!("{}×10{raised}", m.replace('-', "−")),
    }
}

fn superscript(digit: char) -> char {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    digit.to_digit(10).map_or('⁻', |d| DIGITS[d as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, log: bool, wanted: usize) -> Vec<String> {
        AxisScale { low, high, log }.ticks(wanted).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(0.0, 1.0, false, 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-3.1, 7.2, false, 5), ["−2", "0", "2", "4", "6"]);
        assert_eq!(labels(0.951, 0.987, false, 4), ["0.96", "0.97", "0.98"]);
        assert_eq!(labels(0.0, 3e6, false, 3), ["0", "10⁶", "2×10⁶", "3×10⁶"]);
        assert_eq!(labels(-2e-7, 2e-7, false, 4), ["−2×10⁻⁷", "−10⁻⁷", "0", "10⁻⁷", "2×10⁻⁷"]);
    }

    #[test]
    fn logarithmic_ticks_are_powers_where_there_are_enough() {
        assert_eq!(labels(0.01, 100.0, true, 5), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(1e-9, 1e-1, true, 4), ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²"]);
        assert_eq!(labels(1.0, 10.0, true, 5), ["1", "3", "10"]);
        assert_eq!(labels(0.2, 3.5, true, 5), ["0.3", "1", "3"]);
        assert_eq!(labels(2.1, 2.4, true, 4), ["2.1", "2.2", "2.3", "2.4"]);
    }

    #[test]
    fn widths_that_double_are_the_ticks() {
        assert_eq!(labels(1.0, 4.0, true, 5), ["1", "2", "4"]);
        assert_eq!(labels(0.97, 4.1, true, 5), ["1", "2", "4"]);
        assert_eq!(labels(0.125, 4.0, true, 5), ["0.125", "0.25", "0.5", "1", "2", "4"]);
        assert_eq!(labels(1.0, 1024.0, true, 5), ["1", "10", "100", "1000"]);
    }

    #[test]
    fn every_range_has_ticks_and_few() {
        for (low, high) in [(0.0, 1e-299), (-9e299, 9e299), (1.0, 1.0 + 1e-15), (5e-324, 1e300), (1e9, 1e9 + 1.0)] {
            for log in [false, low > 0.0] {
                let ticks = AxisScale { low, high, log }.ticks(5);
                assert!(ticks.len() <= 12, "{low} to {high}: {} ticks", ticks.len());
            }
        }
    }

    #[test]
    fn scales_hold_what_can_be_placed() {
        let axis = |log| Axis { log, ..Axis::default() };
        let scale = |log, values: &[f64]| AxisScale::of(&axis(log), values.iter().copied(), 0.0);
        assert_eq!(scale(false, &[f64::NAN, f64::INFINITY, 1e301]), None);
        assert_eq!(scale(true, &[0.0, -1.0]), None);
        assert_eq!(scale(true, &[0.0, 0.1, 10.0]), Some(AxisScale { low: 0.1, high: 10.0, log: true }));
        assert_eq!(scale(false, &[0.0]), Some(AxisScale { low: -1.0, high: 1.0, log: false }));
        assert_eq!(scale(true, &[4.0]), Some(AxisScale { low: 2.0, high: 8.0, log: true }));
        let from_zero = Axis { from: Some(0.0), ..Axis::default() };
        let held = AxisScale::of(&from_zero, [1.0, 2.0].into_iter(), 0.5);
        assert_eq!(held, Some(AxisScale { low: 0.0, high: 3.0, log: false }));
        assert_eq!(held.and_then(|s| s.place(1.5)), Some(0.5));
    }
}
