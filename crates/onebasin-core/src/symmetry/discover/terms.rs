//! Axes while they are being discovered: unknowns that are united, fixed, and split.
//!
//! Every axis of every value starts as one unknown. Operators unite unknowns; where an axis meets a product or a
//! concatenation, the unknown becomes one, and its parts go on as unknowns of their own. What is still unknown at the end
//! is a group.
//!
//! Work is counted. A network made to be slow, or to nest without end, ends the search; nothing of it is then believed.

use std::cell::Cell;

/// Index of an unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AtomId(usize);

#[derive(Debug, Clone)]
enum State {
    Free,
    Fixed,
    /// What stands for it, or is on the way there.
    Same(Cell<AtomId>),
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
#[derive(Debug)]
pub(super) struct Terms {
    lens: Vec<usize>,
    states: Vec<State>,
    /// Steps that are left.
    left: Cell<usize>,
    /// Unions within each other, now.
    depth: usize,
}

/// Steps that a search may take: thousands of times what known networks need.
const STEPS: usize = 1 << 26;

/// Steps that whatever is kept counts as: it takes memory.
const KEPT: usize = 16;

/// Unions within each other.
const UNIONS: usize = 200;

/// Products and concatenations within each other.
pub(super) const NESTED: usize = 48;

impl Default for Terms {
    fn default() -> Self {
        Self { lens: Vec::new(), states: Vec::new(), left: Cell::new(STEPS), depth: 0 }
    }
}

/// Two axes that cannot be made of the same parts; both were fixed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict;

impl Terms {
    fn make(&mut self, len: usize, state: State) -> AtomId {
        self.spend(KEPT);
        self.lens.push(len);
        self.states.push(state);
        AtomId(self.lens.len() - 1)
    }

    /// Counts steps.
    pub(super) fn spend(&self, steps: usize) {
        self.left.set(self.left.get().saturating_sub(steps));
    }

    /// Ends the search.
    pub(super) fn give_up(&self) {
        self.left.set(0);
    }

    /// Whether the search has ended before it was done, so that nothing of it counts.
    pub(super) fn gave_up(&self) -> bool {
        self.left.get() == 0
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
        let len = factors.iter().map(|f| self.len(*f)).fold(1, usize::saturating_mul);
        self.spend(factors.len());
        self.make(len, State::Product(factors))
    }

    /// These one after the other.
    pub(super) fn sum(&mut self, parts: Vec<AtomId>) -> AtomId {
        let len = parts.iter().map(|p| self.len(*p)).fold(0, usize::saturating_add);
        self.spend(parts.len());
        self.make(len, State::Sum(parts))
    }

    /// Number of entries.
    pub(super) fn len(&self, atom: AtomId) -> usize {
        self.lens[atom.0]
    }

    /// The one that stands for all those united with this.
    pub(super) fn find(&self, atom: AtomId) -> AtomId {
        let mut root = atom;
        while let State::Same(next) = &self.states[root.0] {
            root = next.get();
        }
        let mut at = atom;
        while let State::Same(next) = &self.states[at.0] {
            at = next.replace(root);
        }
        root
    }

    /// Says that all entries of this stay.
    pub(super) fn fix(&mut self, atom: AtomId) {
        let mut stack = vec![atom];
        while let Some(atom) = stack.pop() {
            let atom = self.find(atom);
            self.spend(1);
            match std::mem::replace(&mut self.states[atom.0], State::Fixed) {
                State::Product(children) | State::Sum(children) => stack.extend(children),
                State::Free | State::Fixed | State::Same(_) => {}
            }
        }
    }

    /// Says that two axes are made of the same units in the same order.
    ///
    /// # Errors
    /// If their parts do not fit each other; both are then fixed.
    pub(super) fn unite(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        if self.depth == UNIONS {
            self.give_up();
        }
        if self.gave_up() {
            return Ok(());
        }
        self.depth += 1;
        let united = self.unite_within(a, b);
        self.depth -= 1;
        united
    }

    fn unite_within(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        let (a, b) = (self.find(a), self.find(b));
        self.spend(1);
        if a == b {
            return Ok(());
        }
        if self.len(a) != self.len(b) {
            return self.conflict(a, b);
        }
        match (&self.states[a.0], &self.states[b.0]) {
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
        self.states[from.0] = State::Same(Cell::new(to));
    }

    fn conflict(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        self.fix(a);
        self.fix(b);
        Err(Conflict)
    }

    /// Whether `needle` is a part of `atom`.
    fn occurs(&self, needle: AtomId, atom: AtomId) -> bool {
        let mut stack = vec![atom];
        while let Some(atom) = stack.pop().filter(|_| !self.gave_up()) {
            let atom = self.find(atom);
            self.spend(1);
            match &self.states[atom.0] {
                State::Product(children) | State::Sum(children) => stack.extend(children),
                State::Free | State::Fixed | State::Same(_) if atom == needle => return true,
                State::Free | State::Fixed | State::Same(_) => {}
            }
        }
        false
    }

    /// The factors of a product, products in it opened and factors of one entry left out.
    fn factors(&self, atom: AtomId) -> Vec<AtomId> {
        self.opened(atom, 1, |state| if let State::Product(children) = state { Some(children) } else { None })
    }

    /// The parts of a concatenation, concatenations in it opened and empty parts left out.
    fn parts(&self, atom: AtomId) -> Vec<AtomId> {
        self.opened(atom, 0, |state| if let State::Sum(children) = state { Some(children) } else { None })
    }

    /// What a structure of one kind is made of, in order, without what is as long as nothing.
    fn opened(&self, atom: AtomId, nothing: usize, children: impl Fn(&State) -> Option<&Vec<AtomId>>) -> Vec<AtomId> {
        let (mut found, mut stack) = (Vec::new(), vec![atom]);
        while let Some(atom) = stack.pop().filter(|_| !self.gave_up()) {
            let atom = self.find(atom);
            self.spend(1);
            match children(&self.states[atom.0]) {
                Some(children) => stack.extend(children.iter().rev()),
                None if self.len(atom) == nothing => {}
                None => found.push(atom),
            }
        }
        found
    }

    fn unite_products(&mut self, a: AtomId, b: AtomId) -> Result<(), Conflict> {
        let (mut left, mut right) = (vec![a], vec![b]);
        while let (Some(x), Some(y)) = (self.next(&mut left, Self::factors), self.next(&mut right, Self::factors)) {
            if self.gave_up() {
                return Ok(());
            }
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
                if self.gave_up() || parts.iter().any(|p| !self.len(*p).is_multiple_of(rest)) {
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
            if self.gave_up() {
                return Ok(());
            }
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
                if self.gave_up() {
                    return Err(Conflict);
                }
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
        if self.gave_up() {
            return Ok(());
        }
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
        self.form_within(atom, 0)
    }

    fn form_within(&self, atom: AtomId, depth: usize) -> TermForm {
        let atom = self.find(atom);
        let len = self.len(atom);
        self.spend(2 * KEPT);
        if depth == NESTED {
            self.give_up();
        }
        if self.gave_up() {
            return TermForm::Fixed(len);
        }
        match &self.states[atom.0] {
            _ if len <= 1 => TermForm::Fixed(len),
            State::Free | State::Same(_) => TermForm::Free(atom),
            State::Fixed => TermForm::Fixed(len),
            State::Product(_) => {
                let mut factors: Vec<TermForm> = Vec::new();
                for form in self.factors(atom).into_iter().map(|f| self.form_within(f, depth + 1)) {
                    match (factors.last_mut(), form) {
                        (Some(TermForm::Fixed(n)), TermForm::Fixed(m)) => *n *= m,
                        (_, form) => factors.push(form),
                    }
                }
                if factors.len() == 1 { factors.remove(0) } else { TermForm::Product(factors) }
            }
            State::Sum(_) => {
                let mut parts: Vec<TermForm> = Vec::new();
                for form in self.parts(atom).into_iter().map(|p| self.form_within(p, depth + 1)) {
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
