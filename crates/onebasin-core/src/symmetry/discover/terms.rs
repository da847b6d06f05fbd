//! Axes while they are being discovered: unknowns that are united, fixed, and cut.
//!
//! Every axis of every value starts as one unknown. Operators unite unknowns ([`unite`](super::unite)); where an axis
//! meets a product or a concatenation, the unknown becomes one, and its parts go on as unknowns of their own
//! ([`cut`](super::cut)). What is still unknown at the end is a group.
//!
//! Where the entries of an axis are told apart, by being picked one by one or by being put together from different
//! parts, the axis is a *chooser*, and what stands beside it may be another unknown for each of its entries: *cases*. A
//! case that stands in a value without its chooser is the same for every entry ([`cases`](super::cases)).
//!
//! Work is counted. A network made to be slow, or to nest without end, ends the search; nothing of it is then believed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Index of an unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AtomId(pub(super) usize);

#[derive(Debug, Clone)]
pub(super) enum State {
    Free,
    Fixed,
    /// Entries that stay and are told apart.
    Chooser,
    /// What stands for it, or is on the way there.
    Same(Link),
    /// Left is outer; no product among the factors.
    Product(Vec<AtomId>),
    Sum(Vec<AtomId>),
    /// One of these for every entry of the chooser, all of one length.
    Cases(AtomId, Vec<AtomId>),
}

/// A step towards what stands for an unknown; looking it up makes it shorter.
#[derive(Debug)]
pub(super) struct Link(AtomicUsize);

impl Clone for Link {
    fn clone(&self) -> Self {
        Self(AtomicUsize::new(self.0.load(Ordering::Relaxed)))
    }
}

/// All unknowns.
#[derive(Debug)]
pub(super) struct Terms {
    lens: Vec<usize>,
    pub(super) states: Vec<State>,
    /// Steps that are left.
    left: AtomicUsize,
    /// Whether there are cases.
    pub(super) cased: bool,
}

/// Steps that a search may take: thousands of times what known networks need.
const STEPS: usize = 1 << 26;

/// Steps that whatever is kept counts as: it takes memory.
pub(super) const KEPT: usize = 16;

/// Products, concatenations and cases within each other.
pub(super) const NESTED: usize = 48;

/// Entries of an axis that may be told apart.
pub(super) const CHOICES: usize = 256;

impl Default for Terms {
    fn default() -> Self {
        Self { lens: Vec::new(), states: Vec::new(), left: AtomicUsize::new(STEPS), cased: false }
    }
}

/// Two axes that cannot be made of the same parts; where they differ both were fixed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict;

impl Terms {
    pub(super) fn make(&mut self, len: usize, state: State) -> AtomId {
        self.spend(KEPT);
        self.lens.push(len);
        self.states.push(state);
        AtomId(self.lens.len() - 1)
    }

    /// Counts steps.
    pub(super) fn spend(&self, steps: usize) {
        self.left.store(self.left.load(Ordering::Relaxed).saturating_sub(steps), Ordering::Relaxed);
    }

    /// Ends the search.
    pub(super) fn give_up(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    /// Whether the search has ended before it was done, so that nothing of it counts.
    pub(super) fn gave_up(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Number of unknowns so far.
    pub(super) fn count(&self) -> usize {
        self.states.len()
    }

    /// An unknown of `len` entries; a single one has nothing to exchange places with.
    pub(super) fn fresh(&mut self, len: usize) -> AtomId {
        self.make(len, if len > 1 { State::Free } else { State::Fixed })
    }

    /// A part of an axis that was cut; a single entry may still be one of several that are alike.
    pub(super) fn piece(&mut self, len: usize) -> AtomId {
        self.make(len, if len > 0 { State::Free } else { State::Fixed })
    }

    /// `len` entries that stay.
    pub(super) fn fixed(&mut self, len: usize) -> AtomId {
        self.make(len, State::Fixed)
    }

    /// `len` entries that stay and are told apart.
    pub(super) fn chooser(&mut self, len: usize) -> AtomId {
        self.make(len, State::Chooser)
    }

    /// One of these for every entry of a chooser.
    pub(super) fn cases(&mut self, chooser: AtomId, cases: Vec<AtomId>) -> AtomId {
        self.cased = true;
        self.spend(cases.len());
        let first = self.find(cases[0]);
        let alike = |c: &AtomId| self.find(*c) == first;
        let stays = |c: &AtomId| matches!(self.state(*c), State::Fixed);
        if cases.iter().all(alike) || cases.iter().all(stays) {
            return first;
        }
        self.make(self.len(first), State::Cases(chooser, cases))
    }

    /// The product of these, the last running fastest: products in it opened, single entries that stay left out.
    pub(super) fn product(&mut self, factors: &[AtomId]) -> AtomId {
        let mut found = Vec::with_capacity(factors.len());
        for factor in factors {
            let factor = self.find(*factor);
            match &self.states[factor.0] {
                State::Product(inner) => found.extend(inner),
                State::Fixed if self.len(factor) == 1 => {}
                State::Fixed if self.len(factor) == 0 => return factor,
                _ => found.push(factor),
            }
        }
        match found[..] {
            [] => self.fixed(1),
            [only] => only,
            _ => {
                let len = found.iter().map(|f| self.len(*f)).fold(1, usize::saturating_mul);
                self.spend(found.len());
                self.make(len, State::Product(found))
            }
        }
    }

    /// These one after the other: concatenations in it opened, empty parts left out.
    pub(super) fn sum(&mut self, parts: &[AtomId]) -> AtomId {
        let mut found = Vec::with_capacity(parts.len());
        for part in parts {
            let part = self.find(*part);
            match &self.states[part.0] {
                State::Sum(inner) => {
                    self.spend(inner.len());
                    if self.gave_up() {
                        return part;
                    }
                    found.extend(inner);
                }
                _ if self.len(part) == 0 => {}
                _ => found.push(part),
            }
        }
        match found[..] {
            [] => self.fixed(0),
            [only] => only,
            _ => {
                let len = found.iter().map(|p| self.len(*p)).fold(0, usize::saturating_add);
                self.spend(found.len());
                self.make(len, State::Sum(found))
            }
        }
    }

    /// Number of entries.
    pub(super) fn len(&self, atom: AtomId) -> usize {
        self.lens[atom.0]
    }

    /// The one that stands for all those united with this.
    pub(super) fn find(&self, atom: AtomId) -> AtomId {
        let mut root = atom;
        while let State::Same(next) = &self.states[root.0] {
            root = AtomId(next.0.load(Ordering::Relaxed));
        }
        let mut at = atom;
        while let State::Same(next) = &self.states[at.0] {
            at = AtomId(next.0.swap(root.0, Ordering::Relaxed));
        }
        root
    }

    /// What the one that stands for this is.
    pub(super) fn state(&self, atom: AtomId) -> &State {
        &self.states[self.find(atom).0]
    }

    pub(super) fn link(&mut self, from: AtomId, to: AtomId) {
        let (from, to) = (self.find(from), self.find(to));
        if from != to {
            self.states[from.0] = State::Same(Link(AtomicUsize::new(to.0)));
        }
    }

    /// Says that all entries of this stay.
    pub(super) fn fix(&mut self, atom: AtomId) {
        let mut stack = vec![atom];
        while let Some(atom) = stack.pop() {
            let atom = self.find(atom);
            self.spend(1);
            if matches!(self.states[atom.0], State::Chooser) {
                continue;
            }
            match std::mem::replace(&mut self.states[atom.0], State::Fixed) {
                State::Product(children) | State::Sum(children) | State::Cases(_, children) => stack.extend(children),
                State::Free | State::Fixed | State::Chooser | State::Same(_) => {}
            }
        }
    }
}
