//! Axes while they are being discovered: unknowns that are united, fixed, and split.
//!
//! Every axis of every value starts as one unknown. Operators unite unknowns; where an axis meets a product or a
//! concatenation, the unknown becomes one, and its parts go on as unknowns of their own. What is still unknown at the end
//! is a group.

/// Index of an unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AtomId(usize);

#[derive(Debug, Clone)]
enum State {
    Free,
    Fixed,
    Same(AtomId),
    Product(Vec<AtomId>),
    Sum(Vec<AtomId>),
}

/// What an unknown turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TermForm {
    Free(AtomId),
    Fixed(usize),
    Product(Vec<TermForm>),
    Sum(Vec<TermForm>),
}

/// All unknowns.
#[derive(Debug, Default)]
pub(super) struct Terms {
    lens: Vec<usize>,
    states: Vec<State>,
}

/// Two axes that cannot be made of the same parts; both were fixed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict;

impl Terms {
    fn make(&mut self, len: usize, state: State) -> AtomId {
        self.lens.push(len);
        self.states.push(state);
        AtomId(self.lens.len() - 1)
    }

    /// An unknown of `len` entries.
    pub(super) fn fresh(&mut self, len: usize) -> AtomId {
        self.make(len, State::Free)
    }

    /// `len` entries that stay.
    pub(super) fn fixed(&mut self, len: usize) -> AtomId {
        self.make(len, State::Fixed)
    }

    /// The product of these, the last running fastest.
    pub(super) fn product(&mut self, factors: Vec<AtomId>) -> AtomId {
        let len = factors.iter().map(|f| self.len(*f)).product();
        self.make(len, State::Product(factors))
    }

    /// These one after the other.
    pub(super) fn sum(&mut self, parts: Vec<AtomId>) -> AtomId {
        let len = parts.iter().map(|p| self.len(*p)).sum();
        self.make(len, State::Sum(parts))
    }

    /// Number of entries.
    pub(super) fn len(&self, atom: AtomId) -> usize {
        self.lens[atom.0]
    }

    /// The one that stands for all those united with this.
    pub(super) fn find(&self, mut atom: AtomId) -> AtomId {
        while let State::Same(next) = self.states[atom.0] {
            atom = next;
        }
        atom
    }

    fn find_compressing(&mut self, atom: AtomId) -> AtomId {
        let root = self.find(atom);
        let mut at = atom;
        while let State::Same(next) = self.states[at.0] {
            self.states[at.0] = State::Same(root);
            at = next;
        }
        root
    }

    /// Says that all entries of this stay.
    pub(super) fn fix(&mut self, atom: AtomId) {
        let atom = self.find_compressing(atom);
        match std::mem::replace(&mut self.states[atom.0], State::Fixed) {
            State::Product(children) | State::Sum(children) => children.into_iter().for_each(|c| self.fix(c)),
            State::Free | State::Fixed | State::Same(_) => {}
        }
    }

    /// Says that two axes are made of the same units in the same order.
    ///
    /// # Errors
    /// If their parts do not fit each other; both are then fixed.
    pub(super) fn unite(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        let (a, b) = (self.find_compressing(a), self.find_compressing(b));
        if a == b {
            return Ok(());
        }
        if self.len(a) != self.len(b) {
            return self.conflict(a, b);
        }
        match (self.states[a.0].clone(), self.states[b.0].clone()) {
            (State::Fixed, _) => {
                self.fix(b);
                self.link(b, a);
                Ok(())
            }
            (_, State::Fixed) => {
                self.fix(a);
                self.link(a, b);
                Ok(())
            }
            (State::Free, _) if !self.occurs(a, b) => {
                self.link(a, b);
                Ok(())
            }
            (_, State::Free) if !self.occurs(b, a) => {
                self.link(b, a);
                Ok(())
            }
            (State::Product(_), State::Product(_)) => self.unite_products(a, b),
            (State::Sum(_), State::Sum(_)) => self.unite_sums(a, b),
            (State::Product(_), State::Sum(_)) => self.unite_product_and_sum(a, b),
            (State::Sum(_), State::Product(_)) => self.unite_product_and_sum(b, a),
            (State::Free | State::Same(_), _) | (_, State::Free | State::Same(_)) => self.conflict(a, b),
        }
    }

    fn link(&mut self, from: AtomId, to: AtomId) {
        self.states[from.0] = State::Same(to);
    }

    fn conflict(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        self.fix(a);
        self.fix(b);
        Err(Conflict)
    }

    /// Whether `needle` is a part of `atom`.
    fn occurs(&self, needle: AtomId, atom: AtomId) -> bool {
        let atom = self.find(atom);
        match &self.states[atom.0] {
            State::Product(children) | State::Sum(children) => children.iter().any(|c| self.occurs(needle, *c)),
            State::Free | State::Fixed | State::Same(_) => atom == needle,
        }
    }

    /// The factors of a product, products in it opened and factors of one entry left out.
    fn factors(&self, atom: AtomId) -> Vec<AtomId> {
        let atom = self.find(atom);
        match &self.states[atom.0] {
            State::Product(children) => children.iter().flat_map(|c| self.factors(*c)).collect(),
            _ if self.len(atom) == 1 => Vec::new(),
            _ => vec![atom],
        }
    }

    /// The parts of a concatenation, concatenations in it opened and empty parts left out.
    fn parts(&self, atom: AtomId) -> Vec<AtomId> {
        let atom = self.find(atom);
        match &self.states[atom.0] {
            State::Sum(children) => children.iter().flat_map(|c| self.parts(*c)).collect(),
            _ if self.len(atom) == 0 => Vec::new(),
            _ => vec![atom],
        }
    }

    fn unite_products(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        let (mut left, mut right) = (vec![a], vec![b]);
        while let (Some(x), Some(y)) = (self.next(&mut left, Self::factors), self.next(&mut right, Self::factors)) {
            let (p, q) = (self.len(x), self.len(y));
            let (longer, rest) = if p >= q { (x, &mut left) } else { (y, &mut right) };
            let (short, long) = (p.min(q), p.max(q));
            if short == 0 || long % short != 0 {
                return self.conflict(a, b);
            }
            if short < long {
                let Ok((outer, inner)) = self.split_product(longer, short) else { return self.conflict(a, b) };
                rest.push(inner);
                self.unite(outer, if p >= q { y } else { x }).or_else(|_| self.conflict(a, b))?;
            } else {
                self.unite(x, y).or_else(|_| self.conflict(a, b))?;
            }
        }
        self.relink(a, b);
        Ok(())
    }

    /// The next part on a stack, opened as far as it has become a structure of the kind since it was put there.
    fn next(&self, stack: &mut Vec<AtomId>, open: fn(&Self, AtomId) -> Vec<AtomId>) -> Option<AtomId> {
        while let Some(top) = stack.pop() {
            let mut opened = open(self, top);
            opened.reverse();
            if let Some(first) = opened.pop() {
                stack.append(&mut opened);
                return Some(first);
            }
        }
        None
    }

    /// Links two structures that were made equal part by part.
    fn relink(&mut self, a: AtomId, b: AtomId) {
        let (a, b) = (self.find(a), self.find(b));
        if a != b {
            self.link(a, b);
        }
    }

    /// Makes an atom a product of `outer` times the rest.
    fn split_product(&mut self, atom: AtomId, outer: usize) -> Result<(AtomId, AtomId), Conflict> {
        let atom = self.find(atom);
        let rest = self.len(atom) / outer;
        match self.states[atom.0].clone() {
            State::Fixed => Ok((self.fixed(outer), self.fixed(rest))),
            State::Free => {
                let (x, y) = (self.fresh(outer), self.fresh(rest));
                self.states[atom.0] = State::Product(vec![x, y]);
                Ok((x, y))
            }
            State::Sum(_) => {
                let parts = self.parts(atom);
                if parts.iter().any(|p| !self.len(*p).is_multiple_of(rest)) {
                    return Err(Conflict);
                }
                let inner = self.fresh(rest);
                let mut outers = Vec::new();
                for part in parts {
                    let own = self.fresh(self.len(part) / rest);
                    let product = self.product(vec![own, inner]);
                    self.unite(part, product)?;
                    outers.push(own);
                }
                Ok((self.sum(outers), inner))
            }
            State::Product(_) | State::Same(_) => Err(Conflict),
        }
    }

    fn unite_sums(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        let (mut left, mut right) = (vec![a], vec![b]);
        while let (Some(x), Some(y)) = (self.next(&mut left, Self::parts), self.next(&mut right, Self::parts)) {
            let (p, q) = (self.len(x), self.len(y));
            let (shorter, mut longer, rest) = if p >= q { (y, x, &mut left) } else { (x, y, &mut right) };
            if p != q {
                let Ok((first, second)) = self.split_sum(longer, p.min(q)) else { return self.conflict(a, b) };
                rest.push(second);
                longer = first;
            }
            self.unite(shorter, longer).or_else(|_| self.conflict(a, b))?;
        }
        self.relink(a, b);
        Ok(())
    }

    /// Makes an atom a concatenation of `first` entries and the rest.
    fn split_sum(&mut self, atom: AtomId, first: usize) -> Result<(AtomId, AtomId), Conflict> {
        let atom = self.find(atom);
        let rest = self.len(atom) - first;
        match self.states[atom.0].clone() {
            State::Fixed => Ok((self.fixed(first), self.fixed(rest))),
            State::Free => {
                let (x, y) = (self.fresh(first), self.fresh(rest));
                self.states[atom.0] = State::Sum(vec![x, y]);
                Ok((x, y))
            }
            State::Product(_) => {
                let factors = self.factors(atom);
                let inner: usize = factors[1..].iter().map(|f| self.len(*f)).product();
                if !first.is_multiple_of(inner) || !rest.is_multiple_of(inner) {
                    return Err(Conflict);
                }
                let (x, y) = (self.fresh(first / inner), self.fresh(rest / inner));
                let outer = self.sum(vec![x, y]);
                self.unite(factors[0], outer)?;
                let times = |terms: &mut Self, o: AtomId| terms.product([&[o], &factors[1..]].concat());
                Ok((times(self, x), times(self, y)))
            }
            State::Sum(_) | State::Same(_) => Err(Conflict),
        }
    }

    /// A product whose outer factor is cut where the parts of the concatenation end.
    fn unite_product_and_sum(&mut self, product: AtomId, sum: AtomId) -> Result<(), Conflict> {
        let (factors, parts) = (self.factors(product), self.parts(sum));
        let inner: usize = factors.get(1..).unwrap_or_default().iter().map(|f| self.len(*f)).product();
        if factors.is_empty() || inner == 0 || parts.iter().any(|p| !self.len(*p).is_multiple_of(inner)) {
            return self.conflict(product, sum);
        }
        let outers: Vec<AtomId> = parts.iter().map(|p| self.fresh(self.len(*p) / inner)).collect();
        let outer = self.sum(outers.clone());
        self.unite(factors[0], outer).or_else(|_| self.conflict(product, sum))?;
        for (part, own) in parts.into_iter().zip(outers) {
            let times = self.product([&[own], &factors[1..]].concat());
            self.unite(part, times).or_else(|_| self.conflict(product, sum))?;
        }
        self.relink(product, sum);
        Ok(())
    }

    /// What an atom is made of, neighbours that stay written as one.
    pub(super) fn form(&self, atom: AtomId) -> TermForm {
        let atom = self.find(atom);
        let len = self.len(atom);
        match &self.states[atom.0] {
            _ if len <= 1 => TermForm::Fixed(len),
            State::Free | State::Same(_) => TermForm::Free(atom),
            State::Fixed => TermForm::Fixed(len),
            State::Product(_) => {
                let mut factors: Vec<TermForm> = Vec::new();
                for form in self.factors(atom).into_iter().map(|f| self.form(f)) {
                    match (factors.last_mut(), form) {
                        (Some(TermForm::Fixed(n)), TermForm::Fixed(m)) => *n *= m,
                        (_, form) => factors.push(form),
                    }
                }
                if factors.len() == 1 { factors.remove(0) } else { TermForm::Product(factors) }
            }
            State::Sum(_) => {
                let mut parts: Vec<TermForm> = Vec::new();
                for form in self.parts(atom).into_iter().map(|p| self.form(p)) {
                    match (parts.last_mut(), form) {
                        (Some(TermForm::Fixed(n)), TermForm::Fixed(m)) => *n += m,
                        (_, form) => parts.push(form),
                    }
                }
                if parts.len() == 1 { parts.remove(0) } else { TermForm::Sum(parts) }
            }
        }
    }
}

impl TermForm {
    /// Calls `visit` with every free atom, in order.
    pub(super) fn each_free(&self, visit: &mut dyn FnMut(AtomId)) {
        match self {
            Self::Free(atom) => visit(*atom),
            Self::Fixed(_) => {}
            Self::Product(children) | Self::Sum(children) => children.iter().for_each(|c| c.each_free(visit)),
        }
    }
}
