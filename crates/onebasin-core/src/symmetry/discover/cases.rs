//! Cases that stand in a value without the entries that choose among them are all the same.

use super::terms::{AtomId, NESTED, State, Terms};

impl Terms {
    /// Makes cases the same wherever nothing in the value chooses among them, or two things do.
    pub(super) fn settle(&mut self, values: &[Vec<AtomId>]) {
        while self.cased && !self.gave_up() {
            let mut loose = Vec::new();
            let mut without = vec![false; self.count()];
            for axes in values {
                self.look(axes, &mut loose, &mut without);
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

    /// Collects the cases of one value that nothing chooses.
    fn look(&self, axes: &[AtomId], loose: &mut Vec<AtomId>, without: &mut [bool]) {
        let mut scope = Vec::new();
        for axis in axes {
            self.choosers(*axis, &mut scope);
        }
        // A pattern has one place that chooses for all its axes: the first that is asked for.
        let mut chosen = None;
        for axis in axes {
            self.look_into(*axis, &scope, Some(&mut chosen), loose, without, 0);
        }
    }

    /// The choosers that stand in an axis as a whole.
    fn choosers(&self, axis: AtomId, found: &mut Vec<AtomId>) {
        match self.state(axis) {
            State::Chooser => found.push(self.find(axis)),
            State::Product(factors) => {
                found.extend(
                    factors.iter().filter(|f| matches!(self.state(**f), State::Chooser)).map(|f| self.find(*f)),
                );
            }
            State::Free | State::Fixed | State::Same(_) | State::Sum(_) | State::Cases(..) => {}
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
                let mut own = Vec::new();
                self.choosers(atom, &mut own);
                for factor in factors {
                    any |= if own.is_empty() {
                        self.look_into(*factor, scope, chosen.as_deref_mut(), loose, without, depth + 1)
                    } else {
                        let mut first = Some(own[0]);
                        self.look_into(*factor, &own, Some(&mut first), loose, without, depth + 1)
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
