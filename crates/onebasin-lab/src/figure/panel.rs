//! A panel: lines or a map in their axes, or word that there is nothing to draw.

use super::drawing::Drawing;
use super::{Panel, Shape, field, plot};

/// A panel without its title and legend.
pub(super) fn draw(panel: &Panel) -> Drawing {
    let drawn = match &panel.shape {
        Shape::Lines(lines) => plot::lines(panel, lines),
        Shape::Field(map) => field::map(panel, map),
    };
    drawn.unwrap_or_else(plot::empty)
}
