//! Loss and accuracy on the line between two networks.

use onebasin_core::barrier::lambda_grid;
use onebasin_nn::exec::Program;
use onebasin_nn::task::Classes;
use onebasin_nn::{Network, curve};
use serde::Serialize;

use super::net::ready;
use super::{Net, Room};
use crate::error::Result;
use crate::shelf::DataPart;

/// A [`Curve`](onebasin_core::report::Curve).
pub const CURVE: &str = "curve.json";

/// The line from A to B.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineStage {
    /// What both are.
    pub network: Network,
    /// At λ = 0.
    pub a: Net,
    /// At λ = 1.
    pub b: Net,
    /// Values of λ, evenly spaced.
    pub points: usize,
    /// What they are measured on.
    pub data: DataPart,
    /// Where, if not on the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl LineStage {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let (a, b) = (self.a.load(room.store)?, self.b.load(room.store)?);
        let data = room.shelf.open(&self.data)?;
        let program = Program::new(self.network.graph()?)?;
        let lambda = lambda_grid(self.points)?;
        let mut done = 0;
        let found = curve(
            "",
            &program,
            [&a, &b],
            &lambda,
            [&data.train, &data.test],
            &Classes,
            room.runner(&program, &a)?,
            &|_, between| ready(&program, between, &data),
            &mut || {
                done += 1;
                (room.tell)(done as f64 / lambda.len() as f64, "")
            },
        );
        room.store.write_json(room.key, CURVE, &found?)
    }
}
