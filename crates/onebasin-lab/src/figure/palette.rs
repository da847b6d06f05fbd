//! Inks: what a mark is for, and its colour on white paper, on a light page and on a dark one.

use std::fmt::Write as _;

use super::Colour;

/// What a mark is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ink {
    /// What lies behind everything.
    Ground,
    /// Words that matter.
    Text,
    /// Numbers along axes.
    Faint,
    /// Lines behind lines.
    Grid,
    /// Axes and frames.
    Axis,
    /// A curve.
    Line(Colour),
    /// An area of a map: 0 is its least value, 1 its greatest.
    Shade(f64),
}

/// A colour of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rgb(pub(super) [u8; 3]);

impl Rgb {
    const fn hex(code: u32) -> Self {
        Self([(code >> 16) as u8, (code >> 8) as u8, code as u8])
    }

    fn between(self, other: Self, share: f64) -> Self {
        let part = |i: usize| f64::from(self.0[i]) + share * (f64::from(other.0[i]) - f64::from(self.0[i]));
        Self([0, 1, 2].map(|i| part(i).round() as u8))
    }
}

impl std::fmt::Display for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

/// How many hues there are.
pub(super) const HUES: usize = 6;

/// The colours of one ground.
struct Scheme {
    ground: Rgb,
    text: Rgb,
    faint: Rgb,
    grid: Rgb,
    axis: Rgb,
    grey: Rgb,
    /// Okabe and Ito's hues, each as dark (on a dark ground: as light) as standing out takes.
    hues: [Rgb; HUES],
    /// From the least value of a map to the greatest: values sink into the ground as they rise, so that basins stand out.
    shades: [Rgb; 5],
}

const LIGHT: Scheme = Scheme {
    ground: Rgb::hex(0xff_ffff),
    text: Rgb::hex(0x1c_1e21),
    faint: Rgb::hex(0x5a_5f66),
    grid: Rgb::hex(0xe9_eaec),
    axis: Rgb::hex(0x8d_9299),
    grey: Rgb::hex(0x86_8b92),
    hues: [
        Rgb::hex(0x00_66a8),
        Rgb::hex(0xcc_5500),
        Rgb::hex(0x00_8a66),
        Rgb::hex(0xb8_5490),
        Rgb::hex(0xb0_7d00),
        Rgb::hex(0x2e_94cf),
    ],
    shades: [Rgb::hex(0x0b_2a55), Rgb::hex(0x1f_6398), Rgb::hex(0x55_a3bd), Rgb::hex(0xb0_d6d3), Rgb::hex(0xf4_f4e6)],
};

const DARK: Scheme = Scheme {
    ground: Rgb::hex(0x14_1619),
    text: Rgb::hex(0xe6_e7e9),
    faint: Rgb::hex(0xa4_a9b0),
    grid: Rgb::hex(0x2a_2d32),
    axis: Rgb::hex(0x6b_7079),
    grey: Rgb::hex(0x8b_9098),
    hues: [
        Rgb::hex(0x4f_a8e0),
        Rgb::hex(0xf0_7f3c),
        Rgb::hex(0x2f_c096),
        Rgb::hex(0xde_8fbb),
        Rgb::hex(0xe9_b13c),
        Rgb::hex(0x9a_d8f7),
    ],
    shades: [Rgb::hex(0xf3_f1d6), Rgb::hex(0x9c_d0d0), Rgb::hex(0x45_94b4), Rgb::hex(0x1f_5078), Rgb::hex(0x18_2434)],
};

impl Scheme {
    fn colour(&self, ink: Ink) -> Rgb {
        match ink {
            Ink::Ground => self.ground,
            Ink::Text => self.text,
            Ink::Faint => self.faint,
            Ink::Grid => self.grid,
            Ink::Axis => self.axis,
            Ink::Line(Colour::Grey) => self.grey,
            Ink::Line(Colour::Hue(hue)) => self.hues[hue % HUES],
            Ink::Shade(value) => {
                let place = value.clamp(0.0, 1.0) * (self.shades.len() - 1) as f64;
                let below = (place.floor() as usize).min(self.shades.len() - 2);
                self.shades[below].between(self.shades[below + 1], place - below as f64)
            }
        }
    }
}

impl Ink {
    /// On white paper.
    pub(super) fn paper(self) -> Rgb {
        LIGHT.colour(self)
    }

    /// The class of an ink on a page, and the custom properties it needs beside it.
    pub(super) fn class(self) -> (String, Option<String>) {
        match self {
            Ink::Ground => ("ground".to_owned(), None),
            Ink::Text => ("text".to_owned(), None),
            Ink::Faint => ("faint".to_owned(), None),
            Ink::Grid => ("grid".to_owned(), None),
            Ink::Axis => ("axis".to_owned(), None),
            Ink::Line(Colour::Grey) => ("grey".to_owned(), None),
            Ink::Line(Colour::Hue(hue)) => (format!("hue{}", hue % HUES), None),
            Ink::Shade(_) => {
                ("shade".to_owned(), Some(format!("--l:{};--d:{}", LIGHT.colour(self), DARK.colour(self))))
            }
        }
    }
}

/// The style sheet of inline figures: every ink as a custom property, and classes that fill (`f-`) and stroke (`s-`) with
/// it. A page takes its own colours from the same properties: `--ground`, `--text`, `--faint`, `--grid`, `--axis`.
pub(crate) fn style() -> String {
    let inks = inks();
    let properties = |scheme: &Scheme| {
        inks.iter().fold(String::new(), |all, ink| all + &format!("--{}:{};", ink.class().0, scheme.colour(*ink)))
    };
    let mut css = format!(":root{{{}}}\n", properties(&LIGHT));
    let _ = writeln!(css, "@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}", properties(&DARK));
    for ink in &inks {
        let (name, _) = ink.class();
        let _ = writeln!(css, ".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}");
    }
    css.push_str(".f-shade{fill:var(--l)}.s-shade{stroke:var(--l)}\n");
    css.push_str(
        "@media screen and (prefers-color-scheme:dark){.f-shade{fill:var(--d)}.s-shade{stroke:var(--d)}}\n\
         svg text{font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}\n",
    );
    css
}

/// The style sheet of a figure in a file of its own: what its light colours, which are written out, become on a dark
/// screen.
pub(super) fn dark() -> String {
    let mut css = "@media screen and (prefers-color-scheme:dark){\n".to_owned();
    for ink in inks() {
        let (name, colour) = (ink.class().0, DARK.colour(ink));
        let _ = writeln!(css, ".f-{name}{{fill:{colour}}}.s-{name}{{stroke:{colour}}}");
    }
    css + ".f-shade{fill:var(--d)}.s-shade{stroke:var(--d)}\n}\n"
}

/// Every ink with one colour a scheme.
fn inks() -> Vec<Ink> {
    let plain = [Ink::Ground, Ink::Text, Ink::Faint, Ink::Grid, Ink::Axis, Ink::Line(Colour::Grey)];
    plain.into_iter().chain((0..HUES).map(|hue| Ink::Line(Colour::Hue(hue)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2).
    fn luminance(colour: Rgb) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        let [r, g, b] = colour.0.map(linear);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn lines_stand_out_and_words_more_so() {
        for scheme in [&LIGHT, &DARK] {
            for colour in scheme.hues.iter().chain([&scheme.grey, &scheme.axis]) {
                assert!(contrast(*colour, scheme.ground) > 3.0, "{colour} on {}", scheme.ground);
            }
            assert!(contrast(scheme.text, scheme.ground) > 12.0);
            assert!(contrast(scheme.faint, scheme.ground) > 6.0);
        }
    }

    #[test]
    fn shades_rise_evenly_into_the_ground() {
        for scheme in [&LIGHT, &DARK] {
            let shades: Vec<f64> =
                (0..=20).map(|i| luminance(scheme.colour(Ink::Shade(f64::from(i) / 20.0)))).collect();
            let rising = luminance(scheme.ground) > 0.5;
            assert!(shades.windows(2).all(|w| (w[0] < w[1]) == rising), "{shades:?}");
            assert!(contrast(scheme.shades[0], scheme.ground) > 10.0);
        }
    }
}
