//! Axes cut in two, split into factors, and looked at for one entry of another axis.

use super::terms::{AtomId, CHOICES, NESTED, State, Terms};

impl Terms {
    /// Makes an atom a concatenation of `first` entries and the rest.
    pub(super) fn cut(&mut self, atom: AtomId, first: usize) -> (AtomId, AtomId) {
        self.cut_within(atom, first, 0)
    }

    fn cut_within(&mut self, atom: AtomId, first: usize, depth: usize) -> (AtomId, AtomId) {
        let atom = self.find(atom);
        let rest = self.len(atom) - first;
        self.spend(1);
        if depth == NESTED {
            self.give_up();
        }
        if first == 0 || rest == 0 || self.gave_up() {
            let nothing = self.fixed(0);
            return if first == 0 { (nothing, atom) } else { (atom, nothing) };
        }
        match self.states[atom.0].clone() {
            State::Free => {
                let (x, y) = (self.piece(first), self.piece(rest));
                self.states[atom.0] = State::Sum(vec![x, y]);
                (x, y)
            }
            State::Sum(parts) => self.cut_sum(atom, &parts, first, depth),
            State::Product(factors) => self.cut_product(&factors, first, depth),
            State::Cases(chooser, cases) => {
                self.spend(cases.len());
                let (x, y): (Vec<_>, Vec<_>) = cases.iter().map(|c| self.cut_within(*c, first, depth + 1)).unzip();
                (self.cases(chooser, x), self.cases(chooser, y))
            }
            State::Fixed | State::Chooser | State::Same(_) => (self.fixed(first), self.fixed(rest)),
        }
    }

    fn cut_sum(&mut self, atom: AtomId, parts: &[AtomId], first: usize, depth: usize) -> (AtomId, AtomId) {
        let (mut at, mut k) = (0, 0);
        while at + self.len(parts[k]) <= first {
            at += self.len(parts[k]);
            k += 1;
        }
        self.spend(parts.len());
        let (mut left, mut right) = (parts[..k].to_vec(), parts[k..].to_vec());
        if at < first {
            let (x, y) = self.cut_within(parts[k], first - at, depth + 1);
            left.push(x);
            right[0] = y;
            let all: Vec<AtomId> = left.iter().chain(&right).copied().collect();
            if let State::Sum(parts) = &mut self.states[atom.0] {
                *parts = all;
            }
        }
        (self.sum(&left), self.sum(&right))
    }

    /// Whole units of the outer factor on both sides, and between them one that is itself cut, where it must be.
    fn cut_product(&mut self, factors: &[AtomId], first: usize, depth: usize) -> (AtomId, AtomId) {
        let (outer, rest) = (factors[0], &factors[1..]);
        let own = rest.iter().map(|f| self.len(*f)).fold(1, usize::saturating_mul);
        let times = |terms: &mut Self, outer: AtomId| match terms.len(outer) {
            0 => outer,
            1 => terms.one_unit(outer, rest),
            _ => terms.product(&[&[outer], rest].concat()),
        };
        let (whole, left_over) = (first / own.max(1), first % own.max(1));
        let (before, after) = self.cut_within(outer, whole, depth + 1);
        if left_over == 0 {
            return (times(self, before), times(self, after));
        }
        let (unit, after) = self.cut_within(after, 1, depth + 1);
        let middle = self.one_unit(unit, rest);
        let (x, y) = self.cut_within(middle, left_over, depth + 1);
        let (before, after) = (times(self, before), times(self, after));
        let parts = |terms: &mut Self, parts: [AtomId; 2]| terms.sum(&parts);
        (parts(self, [before, x]), parts(self, [y, after]))
    }

    /// The entries of a single unit. Where they are told apart by an inner factor they are units themselves.
    fn one_unit(&mut self, unit: AtomId, rest: &[AtomId]) -> AtomId {
        let inner = self.product(rest);
        if let State::Cases(chooser, cases) = self.state(unit).clone()
            && self.find(chooser) == inner
        {
            return self.sum(&cases);
        }
        self.fix(unit);
        inner
    }

    /// Makes an atom a product of `outer` times the rest, a divisor of its length.
    ///
    /// Pairs that this makes equal are added to `work`.
    pub(super) fn split(&mut self, atom: AtomId, outer: usize, work: &mut Vec<(AtomId, AtomId)>) -> (AtomId, AtomId) {
        self.split_within(atom, outer, work, 0)
    }

    fn split_within(
        &mut self,
        atom: AtomId,
        outer: usize,
        work: &mut Vec<(AtomId, AtomId)>,
        depth: usize,
    ) -> (AtomId, AtomId) {
        let atom = self.find(atom);
        let inner = self.len(atom) / outer;
        self.spend(1);
        if depth == NESTED {
            self.give_up();
        }
        match self.states[atom.0].clone() {
            _ if self.gave_up() => (self.fixed(outer), self.fixed(inner)),
            State::Free => {
                let (x, y) = (self.fresh(outer), self.fresh(inner));
                self.states[atom.0] = State::Product(vec![x, y]);
                (x, y)
            }
            State::Cases(chooser, cases) => {
                self.spend(cases.len());
                let split = cases.iter().map(|c| self.split_within(*c, outer, work, depth + 1));
                let (x, y): (Vec<_>, Vec<_>) = split.collect::<Vec<_>>().into_iter().unzip();
                (self.cases(chooser, x), self.cases(chooser, y))
            }
            State::Sum(parts) => {
                let own = |terms: &Self, k: usize| terms.len(parts[k]);
                let whole = (0..parts.len()).all(|k| own(self, k) % inner == 0);
                let each = (0..parts.len()).all(|k| own(self, k) == inner);
                if whole && !each || outer > CHOICES {
                    self.split_parts(atom, &parts, (outer, inner), whole, work)
                } else {
                    self.split_rows(atom, outer, inner)
                }
            }
            State::Product(factors) => self.split_product(atom, &factors, outer, work, depth),
            State::Fixed | State::Chooser | State::Same(_) => (self.fixed(outer), self.fixed(inner)),
        }
    }

    /// Factors before and after, and the one between them split, if it can be.
    fn split_product(
        &mut self,
        atom: AtomId,
        factors: &[AtomId],
        outer: usize,
        work: &mut Vec<(AtomId, AtomId)>,
        depth: usize,
    ) -> (AtomId, AtomId) {
        let (mut before, mut after, mut left) = (Vec::new(), Vec::new(), outer);
        for factor in factors {
            let len = self.len(*factor);
            if left % len == 0 {
                before.push(*factor);
                left /= len;
            } else if left == 1 {
                after.push(*factor);
            } else if len.is_multiple_of(left) {
                let (x, y) = self.split_within(*factor, left, work, depth + 1);
                before.push(x);
                after.push(y);
                left = 1;
            } else {
                let inner = self.len(atom) / outer;
                self.fix(atom);
                return (self.fixed(outer), self.fixed(inner));
            }
        }
        (self.product(&before), self.product(&after))
    }

    /// Parts that are products with one inner factor.
    fn split_parts(
        &mut self,
        atom: AtomId,
        parts: &[AtomId],
        (outer, inner): (usize, usize),
        whole: bool,
        work: &mut Vec<(AtomId, AtomId)>,
    ) -> (AtomId, AtomId) {
        if !whole {
            self.fix(atom);
            return (self.fixed(outer), self.fixed(inner));
        }
        let shared = self.fresh(inner);
        let mut outers = Vec::with_capacity(parts.len());
        for part in parts {
            let own = self.fresh(self.len(*part) / inner);
            let product = self.product(&[own, shared]);
            work.push((*part, product));
            outers.push(own);
        }
        (self.sum(&outers), shared)
    }

    /// A row of entries for every unit of an outer factor that tells its units apart.
    fn split_rows(&mut self, atom: AtomId, outer: usize, inner: usize) -> (AtomId, AtomId) {
        let chooser = self.chooser(outer);
        let (mut rows, mut rest) = (Vec::with_capacity(outer), atom);
        for _ in 1..outer {
            let (row, after) = self.cut(rest, inner);
            rows.push(row);
            rest = after;
        }
        rows.push(rest);
        let rows = self.cases(chooser, rows);
        (chooser, rows)
    }

    /// What an atom is where the chooser is at one of its entries; unknowns in it become cases.
    pub(super) fn select(&mut self, atom: AtomId, chooser: AtomId, entry: usize) -> AtomId {
        self.select_within(atom, self.find(chooser), entry, 0)
    }

    fn select_within(&mut self, atom: AtomId, chooser: AtomId, entry: usize, depth: usize) -> AtomId {
        let atom = self.find(atom);
        self.spend(1);
        if depth == NESTED {
            self.give_up();
        }
        if self.gave_up() {
            return atom;
        }
        if atom == chooser {
            return self.fixed(1);
        }
        let each = |terms: &mut Self, children: &[AtomId]| -> Option<Vec<AtomId>> {
            terms.spend(children.len());
            let found: Vec<AtomId> =
                children.iter().map(|c| terms.select_within(*c, chooser, entry, depth + 1)).collect();
            let same = found.iter().zip(children).all(|(f, c)| *f == terms.find(*c));
            (!same).then_some(found)
        };
        match self.states[atom.0].clone() {
            State::Free => {
                let count = self.len(chooser);
                let cases: Vec<AtomId> = (0..count).map(|_| self.piece(self.len(atom))).collect();
                self.cased = true;
                self.states[atom.0] = State::Cases(chooser, cases.clone());
                cases[entry]
            }
            State::Cases(own, cases) if self.find(own) == chooser => cases[entry],
            State::Cases(own, cases) => each(self, &cases).map_or(atom, |cases| self.cases(own, cases)),
            State::Product(factors) => each(self, &factors).map_or(atom, |factors| self.product(&factors)),
            State::Sum(parts) => each(self, &parts).map_or(atom, |parts| self.sum(&parts)),
            State::Fixed | State::Chooser | State::Same(_) => atom,
        }
    }
}
