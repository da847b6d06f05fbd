//! Cases that stand in a value without the entries that choose among them are all the same.

use super::terms::{AtomId, NESTED, State, Terms};

impl Terms {
    /// Makes cases the same wherever nothing in the value chooses among them, or two things do. Of values that are
    /// `written` as patterns, one axis at most may choose for others.
    pub(super) fn settle(&mut self, values: &[Vec<AtomId>], written: &dyn Fn(usize) -> bool) {
        while self.cased && !self.gave_up() {
            self.merge_same();
            let mut loose = Vec::new();
            let mut without = vec![false; self.count()];
            for (value, axes) in values.iter().enumerate() {
                self.look(axes, written(value), &mut loose, &mut without);
            }
            if loose.is_empty() {
                return;
            }
            for cases in loose {
                let cases = self.find(cases);
                if let State::Cases(_, all) = self.states[cases.0].clone() {
                    let mut work = Vec::new();
                    self.same_in_all(cases, all[0], &mut work);
                    for (a, b) in work {
                        // Parts that do not fit each other are fixed: that is all there is to say of them here.
                        let _ = self.unite(a, b);
                    }
                }
            }
        }
    }

    /// Cases that turned out to be all the same are what they are.
    fn merge_same(&mut self) {
        let mut again = true;
        while std::mem::take(&mut again) && !self.gave_up() {
            for atom in (0..self.count()).map(AtomId) {
                let State::Cases(_, cases) = &self.states[atom.0] else { continue };
                let first = self.find(cases[0]);
                self.spend(cases.len());
                if first != atom && cases.iter().all(|c| self.find(*c) == first) {
                    self.link(atom, first);
                    again = true;
                }
            }
        }
    }

    /// Collects the cases of one value that nothing chooses.
    fn look(&self, axes: &[AtomId], written: bool, loose: &mut Vec<AtomId>, without: &mut [bool]) {
        let mut scope = Vec::new();
        for axis in axes {
            self.choosers(*axis, &mut scope);
        }
        // A pattern has one place that chooses for all its axes: the first that is asked for.
        let mut chosen = None;
        for axis in axes {
            let chosen = if written { Some(&mut chosen) } else { None };
            self.look_into(*axis, &scope, chosen, loose, without, 0);
        }
    }

    /// The chooser that stands in an axis as a whole; none where there are several, which are written one by one.
    fn choosers(&self, axis: AtomId, found: &mut Vec<AtomId>) {
        match self.state(axis) {
            State::Chooser => found.push(self.find(axis)),
            State::Product(factors) => found.extend(self.own(factors).filter(|own| own.len() == 1).unwrap_or_default()),
            State::Free | State::Fixed | State::Same(_) | State::Sum(_) | State::Cases(..) => {}
        }
    }

    /// The choosers among the factors of a product, if there are any.
    fn own(&self, factors: &[AtomId]) -> Option<Vec<AtomId>> {
        let own = factors.iter().filter(|f| matches!(self.state(**f), State::Chooser)).map(|f| self.find(*f));
        Some(own.collect::<Vec<_>>()).filter(|own| !own.is_empty())
    }

    /// Whether at most one chooser of a product stands behind what it chooses for: all others can be written out, their
    /// cases one after the other.
    fn can_be_written(&self, factors: &[AtomId], own: &[AtomId]) -> bool {
        let behind = |chooser: &&AtomId| {
            let mut before = factors.iter().take_while(|f| self.find(**f) != **chooser);
            before.any(|f| self.asks(*f, **chooser, 0))
        };
        own.len() == 1 || own.iter().filter(behind).count() <= 1
    }

    /// Whether a case in an atom is chosen by `chooser`.
    fn asks(&self, atom: AtomId, chooser: AtomId, depth: usize) -> bool {
        self.spend(1);
        if depth == NESTED {
            self.give_up();
        }
        if self.gave_up() {
            return true;
        }
        let any = |children: &[AtomId]| children.iter().any(|c| self.asks(*c, chooser, depth + 1));
        match self.state(atom) {
            State::Cases(own, cases) => self.find(*own) == chooser || any(cases),
            State::Product(children) | State::Sum(children) => any(children),
            State::Free | State::Fixed | State::Chooser | State::Same(_) => false,
        }
    }

    /// Looks for cases in an atom; marks those without any. Gives back whether there are some.
    fn look_into(
        &self,
        atom: AtomId,
        scope: &[AtomId],
        mut chosen: Option<&mut Option<AtomId>>,
        loose: &mut Vec<AtomId>,
        without: &mut [bool],
        depth: usize,
    ) -> bool {
        let atom = self.find(atom);
        if without[atom.0] || self.gave_up() {
            return false;
        }
        self.spend(1);
        if depth == NESTED {
            self.give_up();
        }
        let mut any = false;
        match self.state(atom) {
            State::Cases(chooser, cases) => {
                let chooser = self.find(*chooser);
                let once = scope.iter().filter(|c| **c == chooser).count() == 1;
                let first = match chosen.as_deref_mut() {
                    Some(chosen) => *chosen.get_or_insert(chooser) == chooser,
                    None => true,
                };
                if !(once && first) {
                    loose.push(atom);
                }
                any = true;
                for case in cases {
                    self.look_into(*case, scope, chosen.as_deref_mut(), loose, without, depth + 1);
                }
            }
            State::Product(factors) => {
                let own = self.own(factors);
                let all = own.as_deref().is_none_or(|own| self.can_be_written(factors, own));
                for factor in factors {
                    any |= match &own {
                        None => self.look_into(*factor, scope, chosen.as_deref_mut(), loose, without, depth + 1),
                        Some(own) => {
                            let mut first = Some(own[0]);
                            let first = if all { None } else { Some(&mut first) };
                            self.look_into(*factor, own, first, loose, without, depth + 1)
                        }
                    };
                }
            }
            State::Sum(parts) => {
                for part in parts {
                    any |= self.look_into(*part, scope, chosen.as_deref_mut(), loose, without, depth + 1);
                }
            }
            State::Free | State::Fixed | State::Chooser | State::Same(_) => {}
        }
        without[atom.0] = !any;
        any
    }
}
