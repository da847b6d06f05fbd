//! A similarity of your own: units are compared by what you say, and matched by onebasin.
#![allow(clippy::print_stdout, reason = "it shows what it finds")]

use onebasin::core::Error;
use onebasin::core::matching::Gram;
use onebasin::core::matching::Root;
use onebasin::core::symmetry::GroupId;
use onebasin::{Align, Alignment, Context, Model, Network, Pair, Params, Source, Symmetry};

/// Units are alike where the lengths of their incoming weights are alike.
struct Lengths<'a> {
    symmetry: &'a Symmetry,
    roots: Vec<Root>,
    pair: [&'a Params; 2],
}

impl Lengths<'_> {
    /// The length of every row of the weight that makes this group.
    fn of(&self, end: usize, group: GroupId) -> Result<Vec<f64>, Error> {
        let weight = self.pair[end].require(&format!("{}.weight", self.symmetry.group(group).name))?;
        let rows = weight.to_f64()?;
        Ok(rows.chunks(weight.shape()[1]).map(|row| row.iter().map(|w| w * w).sum::<f64>().sqrt()).collect())
    }
}

impl Source for Lengths<'_> {
    fn symmetry(&self) -> &Symmetry {
        self.symmetry
    }

    fn roots(&self) -> &[Root] {
        &self.roots
    }

    fn grams(&self, root: GroupId, _current: &Alignment) -> Result<Vec<Gram>, Error> {
        let (a, b) = (self.of(0, root)?, self.of(1, root)?);
        let data = a.iter().flat_map(|x| b.iter().map(move |y| -(x - y).powi(2))).collect();
        Ok(vec![Gram { digits: vec![root], lens: vec![a.len()], data }])
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64, Error> {
        let mut total = 0.0;
        for root in &self.roots {
            let (a, b) = (self.of(0, root.id)?, self.of(1, root.id)?);
            let perm = &alignment.copies(root.id)[0];
            total -= a.iter().enumerate().map(|(i, x)| (x - b[perm.at(i)]).powi(2)).sum::<f64>();
        }
        Ok(total)
    }
}

/// Matches two networks by it.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new("mlp:32x2", &[8], 3)?;
    let [a, b] = [0, 1].map(|seed| network.init(seed));
    let pair = Pair::new(Model::of(&network, a?)?, Model::of(&network, b?)?)?;
    let symmetry = pair.a().symmetry()?;
    let source = Lengths {
        symmetry: &symmetry,
        roots: symmetry.roots().into_iter().map(Root::new).collect(),
        pair: [pair.a().params(), pair.b().params()],
    };
    let aligned = pair.align_by(&source, "lengths of incoming weights", &Align::default(), &Context::default())?;
    println!("{aligned}");
    Ok(())
}
