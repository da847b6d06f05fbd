//! The notation of one tensor, parsed and printed.

use std::fmt;
use std::str::FromStr;

use super::error::SymmetryError;

/// What every axis of a tensor is made of: one term per axis, separated by spaces.
///
/// | term | the axis is |
/// |---|---|
/// | `.` | fixed: inputs, classes, taps of a kernel |
/// | `h1` | the units of group `h1` |
/// | `(c13 49)`, `(49 c13)` | a product, left outer, right inner, as memory lies |
/// | `(c1 + c2)` | a concatenation: first the units of `c1`, then those of `c2` |
/// | `(heads qk@heads)` | nested: an independent group `qk` for every unit of `heads` |
/// | `(pad[0:8] + c0 + pad[8:16])` | slices: one group standing in several places of the axis |
/// | `g stream u@g` | nested over another axis: an independent group `u` for every unit of `g` |
/// | `([a \| b] #2)` | interleaved: first the first units of `a` and of `b`, then their second ones |
/// | `#2 [3 u \| 3 v] .` | the same over several axes: at entry 0 of the first axis the second is `3 u`, at entry 1 `3 v` |
///
/// `#2` are two entries that stay and choose: `[a | b]`, in one product with them or on another axis of the tensor, is
/// `a` at entry 0 and `b` at entry 1, and both have one length. A choice belongs to the innermost product that has such
/// entries, else to those of the tensor.
///
/// A name begins with a letter or `_` and goes on with those, digits, `-`, `.` and `/`; `{…}` is the placeholder of a
/// template ([`SymmetrySpec`](super::SymmetrySpec)). Parentheses nest up to 32 deep.
///
/// Printing gives back the text it was parsed from, up to spaces.
///
/// # Errors
/// Parsing gives [`SymmetryError::Pattern`]: the column, and what was expected there.
///
/// ```
/// use onebasin_core::symmetry::Pattern;
/// let p: Pattern = "stream ( heads qk@heads+heads v@heads )".parse()?;
/// assert_eq!(p.axes.len(), 2);
/// assert_eq!(p.to_string(), "stream (heads qk@heads + heads v@heads)");
/// let error = "h1 (49".parse::<Pattern>().unwrap_err();
/// assert_eq!(error.to_string(), "pattern `h1 (49`, column 7: expected `)`, `+` or another term");
/// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// One term per axis, outermost axis first.
    pub axes: Vec<Term>,
}

/// A part of an axis, and the column where it was written (counted from 1; not compared).
///
/// ```
/// use onebasin_core::symmetry::{Pattern, TermKind};
/// let p: Pattern = "h1  49".parse()?;
/// assert_eq!((&p.axes[1].kind, p.axes[1].column), (&TermKind::Number(49), 5));
/// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
/// ```
#[derive(Debug, Clone, Eq)]
pub struct Term {
    /// What it is.
    pub kind: TermKind,
    /// Where it was written.
    pub column: usize,
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// The kinds of term.
///
/// ```
/// use onebasin_core::symmetry::{Pattern, TermKind};
/// let p: Pattern = "(heads qk@heads)".parse()?;
/// let TermKind::Product(factors) = &p.axes[0].kind else { panic!("a product") };
/// let TermKind::Group { name, parent, slice } = &factors[1].kind else { panic!("a group") };
/// assert_eq!((&name[..], parent.as_deref(), *slice), ("qk", Some("heads"), None));
/// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermKind {
    /// `.`: a whole axis that stays as it is, of any length.
    Fixed,
    /// A number: that many entries of fixed structure, such as the 49 pixels in `(c13 49)`.
    Number(usize),
    /// A group, possibly of a family (`name@parent`), possibly a slice of it (`name[start:end]`).
    Group {
        /// Name of the group.
        name: String,
        /// The group whose units index the family.
        parent: Option<String>,
        /// First and one-past-last unit that stand here; all where absent.
        slice: Option<(usize, usize)>,
    },
    /// Juxtaposition: left is outer, right is inner. Position `(i, j)` of `(c 49)` is `49 i + j`.
    Product(Vec<Term>),
    /// `+`: one after the other. Unit `j` of `c2` in `(c1 + c2)` stands at `|c1| + j`.
    Sum(Vec<Term>),
    /// `#`: that many entries that stay and say which case stands beside them.
    Chooser(usize),
    /// `[a | b]`: one of these for every entry of the chooser.
    Cases(Vec<Term>),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, axis) in self.axes.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{axis}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TermKind::Fixed => f.write_str("."),
            TermKind::Number(n) => write!(f, "{n}"),
            TermKind::Chooser(n) => write!(f, "#{n}"),
            TermKind::Group { name, parent, slice } => {
                f.write_str(name)?;
                if let Some(parent) = parent {
                    write!(f, "@{parent}")?;
                }
                if let Some((start, end)) = slice {
                    write!(f, "[{start}:{end}]")?;
                }
                Ok(())
            }
            TermKind::Product(factors) => write!(f, "({})", join(factors, " ")),
            TermKind::Sum(parts) => write!(f, "({})", bare(parts, " + ")),
            TermKind::Cases(cases) => write!(f, "[{}]", bare(cases, " | ")),
        }
    }
}

/// Terms of which products need no parentheses.
fn bare(terms: &[Term], between: &str) -> String {
    let one = |term: &Term| match &term.kind {
        TermKind::Product(factors) => join(factors, " "),
        TermKind::Fixed
        | TermKind::Number(_)
        | TermKind::Group { .. }
        | TermKind::Sum(_)
        | TermKind::Chooser(_)
        | TermKind::Cases(_) => term.to_string(),
    };
    terms.iter().map(one).collect::<Vec<_>>().join(between)
}

fn join(terms: &[Term], between: &str) -> String {
    terms.iter().map(Term::to_string).collect::<Vec<_>>().join(between)
}

impl FromStr for Pattern {
    type Err = SymmetryError;

    fn from_str(text: &str) -> Result<Self, SymmetryError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let mut axes = Vec::new();
        while parser.peek().is_some() {
            axes.push(parser.axis()?);
        }
        Ok(Self { axes })
    }
}

/// Deepest nesting of parentheses; deeper text is refused rather than overflowing the stack.
const MAX_DEPTH: usize = 32;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn error<T>(&self, column: usize, why: impl Into<String>) -> Result<T, SymmetryError> {
        let pattern = self.text.to_owned();
        Err(SymmetryError::Pattern { tensor: None, pattern, column, why: why.into() })
    }

    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn column(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn axis(&mut self) -> Result<Term, SymmetryError> {
        if self.peek() == Some('.') {
            let column = self.column();
            self.at += 1;
            return Ok(Term { kind: TermKind::Fixed, column });
        }
        self.factor()
    }

    fn factor(&mut self) -> Result<Term, SymmetryError> {
        let next = self.peek();
        let column = self.column();
        match next {
            Some('(') => {
                self.at += 1;
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return self.error(column, format!("parentheses nest deeper than {MAX_DEPTH}"));
                }
                let mut term = self.sum()?;
                if !self.take(')') {
                    return self.error(self.column(), "expected `)`, `+` or another term");
                }
                self.depth -= 1;
                term.column = column;
                Ok(term)
            }
            Some('[') => self.cases(column),
            Some('#') => {
                self.at += 1;
                let n = self.number()?;
                Ok(Term { kind: TermKind::Chooser(n), column })
            }
            Some(c) if c.is_ascii_digit() => {
                let n = self.number()?;
                Ok(Term { kind: TermKind::Number(n), column })
            }
            Some(c) if name_start(c) => self.group(column),
            Some('?') => {
                let rest = &self.text[self.at + 1..];
                let open = &rest[..rest.len() - rest.trim_start_matches(name_inside).len()];
                self.error(
                    column,
                    format!("`?{open}` is still open: write the group whose units stand there, or `.` if it is fixed"),
                )
            }
            Some('.') => {
                self.error(column, "`.` stands for a whole axis; inside parentheses write the size as a number")
            }
            Some(c) => self.error(column, format!("expected a group, a number, `.`, `(`, `[` or `#`, found `{c}`")),
            None => self.error(column, "the pattern ends where a term was expected"),
        }
    }

    fn cases(&mut self, column: usize) -> Result<Term, SymmetryError> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(column, format!("brackets nest deeper than {MAX_DEPTH}"));
        }
        let mut cases = vec![self.product()?];
        while self.take('|') {
            cases.push(self.product()?);
        }
        if !self.take(']') {
            return self.error(self.column(), "expected `]`, `|` or another term");
        }
        self.depth -= 1;
        Ok(Term { kind: TermKind::Cases(cases), column })
    }

    fn sum(&mut self) -> Result<Term, SymmetryError> {
        let column = self.column();
        let mut parts = vec![self.product()?];
        while self.take('+') {
            parts.push(self.product()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Term { kind: TermKind::Sum(parts), column } })
    }

    fn product(&mut self) -> Result<Term, SymmetryError> {
        let column = self.column();
        let mut factors = vec![self.factor()?];
        while !matches!(self.peek(), None | Some(')' | '+' | '|' | ']')) {
            factors.push(self.factor()?);
        }
        Ok(if factors.len() == 1 { factors.remove(0) } else { Term { kind: TermKind::Product(factors), column } })
    }

    fn number(&mut self) -> Result<usize, SymmetryError> {
        self.peek();
        let column = self.column();
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len()];
        if digits.is_empty() {
            return self.error(column, "expected a number");
        }
        self.at += digits.len();
        match digits.parse() {
            Ok(n) => Ok(n),
            Err(_) => self.error(column, format!("{digits} is too large")),
        }
    }

    fn name(&mut self) -> Result<String, SymmetryError> {
        let rest = &self.text[self.at..];
        if !rest.starts_with(name_start) {
            return self.error(self.column(), "expected the name of a group");
        }
        let name = &rest[..rest.len() - rest.trim_start_matches(name_inside).len()];
        self.at += name.len();
        Ok(name.to_owned())
    }

    fn group(&mut self, column: usize) -> Result<Term, SymmetryError> {
        let name = self.name()?;
        let parent = if self.text[self.at..].starts_with('@') {
            self.at += 1;
            Some(self.name()?)
        } else {
            None
        };
        let slice = if self.text[self.at..].starts_with('[') {
            self.at += 1;
            let start = self.number()?;
            if !self.take(':') {
                return self.error(self.column(), "expected `:` (a slice is `name[start:end]`)");
            }
            let end = self.number()?;
            if !self.take(']') {
                return self.error(self.column(), "expected `]`");
            }
            if start >= end {
                return self.error(column, format!("the slice [{start}:{end}] is empty"));
            }
            Some((start, end))
        } else {
            None
        };
        Ok(Term { kind: TermKind::Group { name, parent, slice }, column })
    }
}

fn name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == '{'
}

fn name_inside(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./{}".contains(c)
}

/// Calls `visit` with every group mentioned in a term: name, parent, slice.
pub(super) fn visit_groups<'a>(
    term: &'a Term,
    visit: &mut dyn FnMut(&'a str, Option<&'a str>, Option<(usize, usize)>),
) {
    match &term.kind {
        TermKind::Group { name, parent, slice } => visit(name, parent.as_deref(), *slice),
        TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => {
            for term in terms {
                visit_groups(term, visit);
            }
        }
        TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => {}
    }
}
