//! Two axes made of the same units in the same order.

use super::terms::{AtomId, CHOICES, Conflict, State, Terms};

/// Pairs that are still to be united.
type Work = Vec<(AtomId, AtomId)>;

impl Terms {
    /// Says that two axes are made of the same units in the same order.
    ///
    /// # Errors
    /// If some of their parts do not fit each other; those are then fixed.
    pub(super) fn unite(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        let (mut work, mut fits) = (vec![(a, b)], true);
        while let Some((a, b)) = work.pop() {
            if self.gave_up() {
                return Ok(());
            }
            self.spend(1);
            fits &= self.meet(a, b, &mut work).is_ok();
        }
        if fits { Ok(()) } else { Err(Conflict) }
    }

    fn meet(&mut self, a: AtomId, b: AtomId, work: &mut Work) -> Result<(), Conflict> {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return Ok(());
        }
        if self.len(a) != self.len(b) {
            return self.conflict(a, b);
        }
        match (&self.states[a.0], &self.states[b.0]) {
            (State::Chooser, _) | (State::Fixed, State::Fixed | State::Free) => self.stay(b, a),
            (_, State::Chooser | State::Fixed) => self.stay(a, b),
            (State::Fixed, _) => self.stay(b, a),
            (State::Free, State::Cases(..)) if self.among_cases(a, b) => self.same_in_all(b, a, work),
            (State::Cases(..), State::Free) if self.among_cases(b, a) => self.same_in_all(a, b, work),
            (State::Free, _) => self.link(a, b),
            (_, State::Free) => self.link(b, a),
            (State::Cases(c, x), State::Cases(d, y)) if self.find(*c) == self.find(*d) => {
                work.extend(x.iter().copied().zip(y.iter().copied()));
                self.link(a, b);
            }
            (State::Cases(_, x), State::Cases(_, y)) => {
                let (x, y) = (x.clone(), y.clone());
                work.extend(x[1..].iter().map(|case| (x[0], *case)));
                work.extend(y[1..].iter().map(|case| (y[0], *case)));
                work.push((x[0], y[0]));
                self.link(a, x[0]);
                self.link(b, y[0]);
            }
            (State::Cases(..), _) => self.distribute(a, b, work),
            (_, State::Cases(..)) => self.distribute(b, a, work),
            (State::Product(_), State::Product(_)) => return self.unite_products(a, b, work),
            (State::Product(_), State::Sum(_)) => self.unite_product_and_sum(a, b, work),
            (State::Sum(_), State::Product(_)) => self.unite_product_and_sum(b, a, work),
            (State::Sum(_), State::Sum(_)) => self.unite_parts(a, b, work),
            (State::Same(_), _) | (_, State::Same(_)) => return self.conflict(a, b),
        }
        Ok(())
    }

    /// One axis becomes another that stays.
    fn stay(&mut self, moving: AtomId, fixed: AtomId) {
        self.fix(moving);
        self.link(moving, fixed);
    }

    fn conflict(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        self.fix(a);
        self.fix(b);
        Err(Conflict)
    }

    /// Whether an atom is itself one of the cases that it is to be.
    fn among_cases(&self, atom: AtomId, cases: AtomId) -> bool {
        let mut stack = vec![cases];
        while let Some(at) = stack.pop().filter(|_| !self.gave_up()) {
            self.spend(1);
            match self.state(at) {
                State::Cases(_, cases) => stack.extend(cases),
                _ if self.find(at) == atom => return true,
                _ => {}
            }
        }
        false
    }

    /// All cases are the same, and are `other`.
    pub(super) fn same_in_all(&mut self, cases: AtomId, other: AtomId, work: &mut Work) {
        let cases = self.find(cases);
        if let State::Cases(_, all) = self.states[cases.0].clone() {
            work.extend(all[1..].iter().map(|case| (all[0], *case)));
            work.push((all[0], other));
            self.link(cases, all[0]);
        }
    }

    /// Cases are made of parts: so is each of them, and each part is cases.
    ///
    /// What a factor of the parts chooses by itself, it chooses in every case: there each of its own cases is cases.
    fn distribute(&mut self, cases: AtomId, made: AtomId, work: &mut Work) {
        let State::Cases(chooser, all) = self.states[cases.0].clone() else { return };
        let (State::Product(parts) | State::Sum(parts)) = self.states[made.0].clone() else { return };
        let sum = matches!(self.states[made.0], State::Sum(_));
        let is_chooser = |terms: &Self, part: &AtomId| !sum && matches!(terms.state(*part), State::Chooser);
        let bound: Vec<AtomId> = parts.iter().filter(|p| is_chooser(self, p)).map(|p| self.find(*p)).collect();
        self.spend(all.len() * parts.len());
        let mut wholes = vec![Vec::with_capacity(parts.len()); all.len()];
        for part in parts {
            let own = match self.state(part).clone() {
                State::Chooser if !sum => vec![part; all.len()],
                State::Cases(by, each) if bound.contains(&self.find(by)) => {
                    self.spend(all.len() * each.len());
                    let pieces: Vec<Vec<AtomId>> = all.iter().map(|_| self.alike(&each)).collect();
                    for (k, one) in each.iter().enumerate() {
                        let of = self.cases(chooser, pieces.iter().map(|pieces| pieces[k]).collect());
                        work.push((*one, of));
                    }
                    pieces.into_iter().map(|pieces| self.cases(by, pieces)).collect()
                }
                _ => {
                    let own: Vec<AtomId> = all.iter().map(|_| self.piece(self.len(part))).collect();
                    let each = self.cases(chooser, own.clone());
                    work.push((part, each));
                    own
                }
            };
            wholes.iter_mut().zip(own).for_each(|(whole, piece)| whole.push(piece));
        }
        for (case, pieces) in all.into_iter().zip(wholes) {
            let whole = if sum { self.sum(&pieces) } else { self.product(&pieces) };
            work.push((case, whole));
        }
        self.link(cases, made);
    }

    /// As many unknowns, each as long as these.
    fn alike(&mut self, atoms: &[AtomId]) -> Vec<AtomId> {
        atoms.iter().map(|atom| self.piece(self.len(*atom))).collect()
    }

    /// Factors side by side, the longer one cut where the shorter one ends.
    fn unite_products(&mut self, a: AtomId, b: AtomId, work: &mut Work) -> Result<(), Conflict> {
        let (mut left, mut right) = (vec![a], vec![b]);
        while let (Some(x), Some(y)) = (self.next_factor(&mut left), self.next_factor(&mut right)) {
            if self.gave_up() {
                return Ok(());
            }
            self.spend(1);
            let (p, q) = (self.len(x), self.len(y));
            if p == q {
                work.push((x, y));
                continue;
            }
            let (longer, shorter, rest) = if p > q { (x, y, &mut left) } else { (y, x, &mut right) };
            let (short, long) = (p.min(q), p.max(q));
            if short == 0 || long % short != 0 {
                return self.conflict(a, b);
            }
            let (outer, inner) = self.split(longer, short, work);
            rest.push(inner);
            work.push((outer, shorter));
        }
        self.link(a, b);
        Ok(())
    }

    /// The next factor on a stack, products opened; a single entry of a product is none.
    fn next_factor(&mut self, stack: &mut Vec<AtomId>) -> Option<AtomId> {
        while let Some(top) = stack.pop() {
            let top = self.find(top);
            match &self.states[top.0] {
                State::Product(factors) => stack.extend(factors.iter().rev()),
                // A unit that owns several entries stands here with each of them: it cannot be told what it is.
                _ if self.len(top) == 1 => self.fix(top),
                _ => return Some(top),
            }
        }
        None
    }

    /// Parts side by side, the longer one cut where the shorter one ends.
    fn unite_parts(&mut self, a: AtomId, b: AtomId, work: &mut Work) {
        let parts = |terms: &Self, atom: AtomId| match terms.state(atom) {
            State::Sum(parts) => parts.iter().rev().copied().collect(),
            _ => vec![atom],
        };
        let (mut left, mut right) = (parts(self, a), parts(self, b));
        while let (Some(x), Some(y)) = (left.pop(), right.pop()) {
            if self.gave_up() {
                return;
            }
            self.spend(1);
            let (p, q) = (self.len(x), self.len(y));
            let (mut longer, shorter, rest) = if p >= q { (x, y, &mut left) } else { (y, x, &mut right) };
            if p != q {
                let (first, second) = self.cut(longer, p.min(q));
                rest.push(second);
                longer = first;
            }
            work.push((longer, shorter));
        }
        self.link(a, b);
    }

    /// A product whose outer factor tells its entries apart where each is a part of the concatenation, and is cut where
    /// the parts end otherwise.
    fn unite_product_and_sum(&mut self, product: AtomId, sum: AtomId, work: &mut Work) {
        let (State::Product(factors), State::Sum(parts)) = (self.states[product.0].clone(), self.states[sum.0].clone())
        else {
            return;
        };
        let (outer, inner) = (factors[0], &factors[1..]);
        let count = self.len(outer);
        let stays = matches!(self.state(outer), State::Fixed | State::Chooser);
        let own = self.len(product) / count.max(1);
        let each = parts.len() == count && parts.iter().all(|p| self.len(*p) == own);
        if !(each || stays) || !(2..=CHOICES).contains(&count) {
            return self.unite_parts(product, sum, work);
        }
        let chooser = match self.state(outer) {
            State::Chooser => self.find(outer),
            _ => self.chooser(count),
        };
        work.push((outer, chooser));
        let rows: Vec<AtomId> = (0..count)
            .map(|entry| {
                let factors: Vec<AtomId> = inner.iter().map(|f| self.select(*f, chooser, entry)).collect();
                self.product(&factors)
            })
            .collect();
        let rows = self.sum(&rows);
        self.link(product, rows);
        work.push((rows, sum));
    }
}
