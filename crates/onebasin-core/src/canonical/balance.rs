//! Both sides of a free product made the same size.

use crate::error::Result;
use crate::kinds::{Kind, Kinds, Motion, Side, Turn, balance};
use crate::linalg::{Mat, Scalar};
use crate::params::Params;
use crate::symmetry::GroupId;

/// The element that balances a network: on both sides of every free group, sums of squares over its units are the same.
///
/// Formula: with `P` the Gram of what moves along and `N` of what moves against, `M P Mᵀ = M⁻¹ N M⁻¹` ([`balance`]); for pairs of units
/// and for units with a sign one number each, `(N / P)^{1/4}`. Where a side is singular nothing is done.
///
/// Groups of which a tensor is not among those of the network are left as they are: of a part its own are balanced.
///
/// Cost: one Gram over the units of every free group, and an eigendecomposition for every copy.
///
/// # Errors
/// If a tensor is no array of floating-point numbers.
pub fn balanced(kinds: &Kinds, params: &Params) -> Result<Motion> {
    let mut motion = Motion::identity(kinds);
    for id in (0..kinds.symmetry.groups().len()).map(GroupId).filter(|id| kinds.is_free(*id)) {
        let mut sided = kinds.symmetry.names().filter(|name| kinds.side(id, name).is_some());
        if !sided.all(|name| params.get(name).is_some()) {
            continue;
        }
        let (kind, copies) = (kinds.kind(id), kinds.symmetry.copies(id));
        let n = kinds.symmetry.group(id).size;
        let len = if kind == Kind::Orthogonal { n * n } else { n };
        let mut sides = [vec![vec![0.0; len]; copies], vec![vec![0.0; len]; copies]];
        for name in kinds.symmetry.names() {
            let Some(side) = kinds.side(id, name) else { continue };
            kinds.squares(id, name, params, &mut sides[usize::from(side == Side::Against)])?;
        }
        let [along, against] = &sides;
        let of = |copy: usize| one(kind, &along[copy], &against[copy], n).or_else(|| kind.identity(n));
        if let Some(turns) = (0..copies).map(of).collect::<Option<Vec<_>>>() {
            motion.turns.insert(id, turns);
        }
    }
    Ok(motion)
}

/// The element of one copy, by the Gram of its units on both sides where they are mixed, else by the sum of squares of each.
fn one(kind: Kind, along: &[f64], against: &[f64], n: usize) -> Option<Turn> {
    let ratio =
        |along: f64, against: f64| if along > 0.0 && against > 0.0 { (against / along).powf(0.25) } else { 1.0 };
    match kind {
        Kind::Permutation | Kind::Still | Kind::Centred => None,
        Kind::Signed => Some(Turn::Scales((0..n).map(|k| ratio(along[k], against[k])).collect())),
        Kind::Phases => {
            let half = n / 2;
            let of = |squares: &[f64], f: usize| squares[f] + squares[f + half];
            Some(Turn::Phases((0..half).map(|f| [ratio(of(along, f), of(against, f)), 0.0]).collect()))
        }
        Kind::Orthogonal => balance(along, against, n),
    }
}

impl Kinds {
    /// Adds the Gram of a tensor over the units of a group to those of its copies; where units are not mixed, its diagonal.
    fn squares(&self, id: GroupId, name: &str, params: &Params, grams: &mut [Vec<f64>]) -> Result<()> {
        let (tensor, n) = (params.require(name)?, self.symmetry.group(id).size);
        let (values, shape) = (tensor.to_f64()?, tensor.shape());
        let mixes = self.kind(id) == Kind::Orthogonal;
        for (axis, copy, positions) in self.fibres(id, name) {
            let inner: usize = shape[axis + 1..].iter().product();
            let outer: usize = shape[..axis].iter().product();
            let entry = |p: usize, c: usize| values[((c / inner) * shape[axis] + p) * inner + c % inner];
            if !mixes {
                for (sum, p) in grams[copy].iter_mut().zip(&positions) {
                    let runs = (0..outer).map(|o| &values[(o * shape[axis] + p) * inner..][..inner]);
                    *sum += runs.flatten().map(|v| v * v).sum::<f64>();
                }
                continue;
            }
            let columns = outer * inner;
            let rows: Vec<f64> = positions.iter().flat_map(|p| (0..columns).map(move |c| entry(*p, c))).collect();
            let rows = Mat::new(&rows, n, columns);
            f64::matmul(&mut grams[copy], rows, rows.t(), true);
        }
        Ok(())
    }
}
