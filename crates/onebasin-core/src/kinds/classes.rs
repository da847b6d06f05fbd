//! Values in which units of a group move alike, or against each other.

/// Sets of places that one element moves in the same way, or in the inverse one, and what is asked of it there.
#[derive(Debug, Default)]
pub(super) struct Classes {
    parent: Vec<usize>,
    /// Whether a place moves against its parent.
    against: Vec<bool>,
    asked: Vec<Asked>,
}

/// What is asked of the elements of a class, beyond being linear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Entry by entry: only permutations pass.
    pub(super) still: bool,
    /// Lengths are kept.
    pub(super) isometric: bool,
    /// The mean over the units is kept.
    pub(super) centred: bool,
}

impl Classes {
    pub(super) fn place(&mut self) -> usize {
        self.parent.push(self.parent.len());
        self.against.push(false);
        self.asked.push(Asked::default());
        self.parent.len() - 1
    }

    /// The class of a place, and whether it moves against what names the class.
    pub(super) fn find(&self, mut place: usize) -> (usize, bool) {
        let mut against = false;
        while self.parent[place] != place {
            against ^= self.against[place];
            place = self.parent[place];
        }
        (place, against)
    }

    /// Two places move alike, or one against the other; where they would do both, only what keeps lengths is its own inverse,
    /// transposed.
    pub(super) fn unite(&mut self, a: usize, b: usize, against: bool) {
        let ((a, x), (b, y)) = (self.find(a), self.find(b));
        let against = against ^ x ^ y;
        if a == b {
            self.asked[a].isometric |= against;
            return;
        }
        self.parent[b] = a;
        self.against[b] = against;
        let other = self.asked[b];
        let asked = &mut self.asked[a];
        asked.still |= other.still;
        asked.isometric |= other.isometric;
        asked.centred |= other.centred;
    }

    pub(super) fn ask(&mut self, place: usize, ask: impl FnOnce(&mut Asked)) {
        let (class, _) = self.find(place);
        ask(&mut self.asked[class]);
    }

    pub(super) fn asked(&self, place: usize) -> Asked {
        self.asked[self.find(place).0]
    }
}

#[cfg(test)]
mod tests {
    use super::Classes;

    #[test]
    fn a_place_that_moves_with_and_against_itself_keeps_lengths() {
        let mut classes = Classes::default();
        let [a, b, c] = std::array::from_fn(|_| classes.place());
        classes.unite(a, b, true);
        classes.unite(b, c, true);
        assert_eq!((classes.find(c).1, classes.asked(a).isometric), (classes.find(a).1, false));
        classes.unite(a, c, true);
        assert!(classes.asked(b).isometric);
    }
}
