//! Where the groups of a network show while it runs.

use super::Model;
use crate::error::{Error, Result};

impl Model {
    /// Values inside the network in which groups show, and what their axes are made of: what activations are compared on.
    ///
    /// A hidden layer shows after its nonlinearity, a residual stream at every block. Values that stand side by side in one (experts
    /// in tensors of their own) are told by the first.
    ///
    /// Cost: that of discovery.
    ///
    /// # Errors
    /// [`Error::NoGraph`] if the network's graph is not known.
    ///
    /// ```
    /// use onebasin::{Model, Network};
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let taps = Model::of(&network, network.init(0)?)?.taps()?;
    /// assert_eq!(taps.iter().map(|(_, pattern)| pattern.as_str()).collect::<Vec<_>>(), [". fc1", ". fc2"]);
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn taps(&self) -> Result<Vec<(String, String)>> {
        let Some(graph) = self.graph() else { return Err(Error::NoGraph { path: self.path().to_owned() }) };
        let (found, symmetry) = (self.discovered(graph), self.symmetry()?);
        let mut taps: Vec<(String, String)> = Vec::new();
        for at in found.taps(&symmetry) {
            let name = &graph.value(at.value).name;
            let tap = found.tap(at).map(|tap| tap.pattern.to_string());
            if let (Some(pattern), true) = (tap, taps.last().is_none_or(|(last, _)| last != name)) {
                taps.push((name.clone(), pattern));
            }
        }
        Ok(taps)
    }
}
