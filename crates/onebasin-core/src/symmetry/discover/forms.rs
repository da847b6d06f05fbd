//! What unknowns turned out to be, read off as trees.

use super::terms::{AtomId, KEPT, NESTED, State, Terms};

/// What an unknown turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TermForm {
    Free(AtomId),
    Fixed(usize),
    /// Entries that say which case another part of the value is.
    Chooser(AtomId, usize),
    Cases(AtomId, Vec<TermForm>),
    Product(Vec<TermForm>),
    Sum(Vec<TermForm>),
}

impl Terms {
    /// What the axes of a value are made of. A product that begins with what chooses is a concatenation of its cases.
    pub(super) fn forms(&self, axes: &[AtomId]) -> Vec<TermForm> {
        let forms: Vec<TermForm> = axes.iter().map(|a| self.form(*a, 0)).collect();
        let asks = |forms: &[TermForm], c: AtomId, except: usize| {
            forms.iter().enumerate().any(|(k, f)| k != except && f.asks(c))
        };
        if !self.cased {
            return forms.iter().map(|form| form.idle(&|_| false)).collect();
        }
        let tidy = |(k, form): (usize, &TermForm)| match form {
            TermForm::Product(factors) => in_turn(factors, &|c| asks(&forms, c, k)),
            _ => form.clone(),
        };
        let forms: Vec<TermForm> = forms.iter().enumerate().map(tidy).collect();
        forms.iter().enumerate().map(|(k, form)| form.idle(&|c| asks(&forms, c, k))).collect()
    }

    fn form(&self, atom: AtomId, depth: usize) -> TermForm {
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
            _ if len == 0 => TermForm::Fixed(0),
            State::Free | State::Same(_) => TermForm::Free(atom),
            State::Fixed => TermForm::Fixed(len),
            State::Chooser => TermForm::Chooser(atom, len),
            State::Cases(chooser, cases) => {
                let chooser = self.find(*chooser);
                let case = |(entry, c): (usize, &AtomId)| self.form(*c, depth + 1).choose(chooser, entry);
                let cases: Vec<TermForm> = cases.iter().enumerate().map(case).collect();
                if cases.iter().all(|c| *c == cases[0]) { cases[0].clone() } else { TermForm::Cases(chooser, cases) }
            }
            State::Product(factors) => {
                let factors: Vec<TermForm> = factors.iter().map(|f| self.form(*f, depth + 1)).collect();
                if depth > 0 { in_turn(&factors, &|_| false) } else { product(factors) }
            }
            State::Sum(parts) => sum(parts.iter().map(|p| self.form(*p, depth + 1)).collect()),
        }
    }
}

/// A product in which what chooses stands outside all that it chooses for, as a concatenation of the cases.
fn in_turn(factors: &[TermForm], asked: &dyn Fn(AtomId) -> bool) -> TermForm {
    for (k, factor) in factors.iter().enumerate() {
        if let TermForm::Chooser(c, len) = factor
            && !asked(*c)
            && !factors[..k].iter().any(|f| f.asks(*c))
        {
            let rest = one_by_one(*c, *len, &factors[k + 1..], asked);
            return product([&factors[..k], &[rest]].concat());
        }
    }
    product(factors.to_vec())
}

/// The cases of a product one after the other, if it has any.
fn one_by_one(chooser: AtomId, len: usize, factors: &[TermForm], asked: &dyn Fn(AtomId) -> bool) -> TermForm {
    if !factors.iter().any(|f| f.asks(chooser)) {
        return product(vec![TermForm::Fixed(len), in_turn(factors, asked)]);
    }
    let entry = |entry: usize| {
        let factors: Vec<TermForm> = factors.iter().map(|f| f.clone().choose(chooser, entry)).collect();
        in_turn(&factors, asked)
    };
    sum((0..len).map(entry).collect())
}

/// Products in it opened, neighbours that stay written as one.
fn product(factors: Vec<TermForm>) -> TermForm {
    let mut found: Vec<TermForm> = Vec::new();
    let opened = factors.into_iter().flat_map(|f| if let TermForm::Product(inner) = f { inner } else { vec![f] });
    for factor in opened {
        match (found.last_mut(), factor) {
            (_, TermForm::Fixed(1)) => {}
            (Some(TermForm::Fixed(n)), TermForm::Fixed(m)) => *n *= m,
            (_, factor) => found.push(factor),
        }
    }
    match found.len() {
        0 => TermForm::Fixed(1),
        1 => found.remove(0),
        _ => TermForm::Product(found),
    }
}

/// Concatenations in it opened, neighbours that stay written as one.
fn sum(parts: Vec<TermForm>) -> TermForm {
    let mut found: Vec<TermForm> = Vec::new();
    let opened = parts.into_iter().flat_map(|p| if let TermForm::Sum(inner) = p { inner } else { vec![p] });
    for part in opened {
        match (found.last_mut(), part) {
            (_, TermForm::Fixed(0)) => {}
            (Some(TermForm::Fixed(n)), TermForm::Fixed(m)) => *n += m,
            (_, part) => found.push(part),
        }
    }
    match found.len() {
        0 => TermForm::Fixed(0),
        1 => found.remove(0),
        _ => TermForm::Sum(found),
    }
}

impl TermForm {
    /// Calls `visit` with every free atom, in order.
    pub(super) fn each_free(&self, visit: &mut dyn FnMut(AtomId)) {
        match self {
            Self::Free(atom) => visit(*atom),
            Self::Fixed(_) | Self::Chooser(..) => {}
            Self::Product(children) | Self::Sum(children) | Self::Cases(_, children) => {
                for child in children {
                    child.each_free(visit);
                }
            }
        }
    }

    /// Whether a case in it is chosen by `chooser`.
    pub(super) fn asks(&self, chooser: AtomId) -> bool {
        match self {
            Self::Free(_) | Self::Fixed(_) | Self::Chooser(..) => false,
            Self::Cases(own, cases) => *own == chooser || cases.iter().any(|c| c.asks(chooser)),
            Self::Product(children) | Self::Sum(children) => children.iter().any(|c| c.asks(chooser)),
        }
    }

    /// What it is where a chooser is at one of its entries.
    pub(super) fn choose(self, chooser: AtomId, entry: usize) -> Self {
        let all = |children: Vec<Self>| children.into_iter().map(|c| c.choose(chooser, entry)).collect();
        match self {
            Self::Chooser(own, _) if own == chooser => Self::Fixed(1),
            Self::Free(_) | Self::Fixed(_) | Self::Chooser(..) => self,
            Self::Cases(own, mut cases) if own == chooser => cases.swap_remove(entry).choose(chooser, entry),
            Self::Cases(own, cases) => Self::Cases(own, all(cases)),
            Self::Product(factors) => product(all(factors)),
            Self::Sum(parts) => sum(all(parts)),
        }
    }

    /// The same with every chooser that nothing asks written as entries that stay.
    fn idle(&self, asked: &dyn Fn(AtomId) -> bool) -> Self {
        match self {
            Self::Free(_) | Self::Fixed(_) => self.clone(),
            Self::Chooser(c, len) => {
                if asked(*c) {
                    self.clone()
                } else {
                    Self::Fixed(*len)
                }
            }
            Self::Cases(c, cases) => Self::Cases(*c, cases.iter().map(|c| c.idle(asked)).collect()),
            Self::Product(factors) => {
                let beside = |c: AtomId| asked(c) || factors.iter().any(|f| f.asks(c));
                product(factors.iter().map(|f| f.idle(&beside)).collect())
            }
            Self::Sum(parts) => sum(parts.iter().map(|p| p.idle(asked)).collect()),
        }
    }

    /// How often an atom stands in it, least and most, over the alternatives of a concatenation and over cases.
    pub(super) fn count(&self, atom: AtomId) -> (usize, usize) {
        match self {
            Self::Free(own) => (usize::from(*own == atom), usize::from(*own == atom)),
            Self::Fixed(_) | Self::Chooser(..) => (0, 0),
            Self::Product(factors) => {
                factors.iter().map(|f| f.count(atom)).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
            }
            Self::Sum(parts) | Self::Cases(_, parts) => {
                let counts = parts.iter().map(|p| p.count(atom));
                counts.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))).unwrap_or((0, 0))
            }
        }
    }
}

/// The axes of a value for every combination of entries of what chooses in it; none if there are too many.
pub(super) fn variants(axes: &[TermForm]) -> Option<Vec<Vec<TermForm>>> {
    const MOST: usize = 256;
    let mut found = vec![axes.to_vec()];
    let mut k = 0;
    while k < found.len() {
        let Some((chooser, len)) = found[k].iter().find_map(first_chooser) else {
            k += 1;
            continue;
        };
        let axes = found.swap_remove(k);
        let entry = |e: usize| axes.iter().map(|a| a.clone().choose(chooser, e)).collect::<Vec<_>>();
        found.extend((0..len).map(entry));
        if found.len() > MOST {
            return None;
        }
    }
    Some(found)
}

fn first_chooser(form: &TermForm) -> Option<(AtomId, usize)> {
    match form {
        TermForm::Chooser(c, len) => Some((*c, *len)),
        TermForm::Free(_) | TermForm::Fixed(_) => None,
        TermForm::Cases(_, children) | TermForm::Product(children) | TermForm::Sum(children) => {
            children.iter().find_map(first_chooser)
        }
    }
}
