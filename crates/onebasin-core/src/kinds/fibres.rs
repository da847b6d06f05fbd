//! Where the units of one copy of a group stand along an axis.

use crate::symmetry::{AxisLayout, GroupId, Symmetry, copy_index, for_each_index};

/// The positions of all units of one copy, in order, everything else on the axis being held.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fibre {
    pub(super) copy: usize,
    pub(super) positions: Vec<usize>,
}

/// All fibres of a group along an axis.
pub(super) fn fibres(symmetry: &Symmetry, axis: &AxisLayout, group: GroupId) -> Vec<Fibre> {
    let ancestors = symmetry.ancestors(group);
    let mut all = Vec::new();
    for occurrence in &axis.occurrences {
        let Some(own) = occurrence.digits.iter().position(|d| d.group == Some(group)) else { continue };
        let held = |d: usize| if d == own { 1 } else { occurrence.digits[d].len };
        let lens: Vec<usize> = (0..occurrence.digits.len()).map(held).collect();
        for_each_index(&lens, |values| {
            let unit_of =
                |a: &GroupId| occurrence.digits.iter().position(|d| d.group == Some(*a)).map_or(0, |d| values[d]);
            let above: Vec<usize> = ancestors.iter().map(unit_of).collect();
            let mut at = values.to_vec();
            let position = |unit: usize| {
                at[own] = unit;
                occurrence.position(&at)
            };
            let positions = (0..occurrence.digits[own].len).map(position).collect();
            all.push(Fibre { copy: copy_index(symmetry, group, &above), positions });
        });
    }
    all
}
