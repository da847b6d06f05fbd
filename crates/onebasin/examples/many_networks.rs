//! Five networks become one, watched as it goes and stopped if it takes too long.
#![allow(clippy::print_stdout, reason = "it shows what it finds")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use onebasin::{Context, Level, Many, MergeMany, Model, Network, Observer, Threads, Together};

/// Counts what is said, and stops after a while.
struct Patience {
    until: Instant,
    said: AtomicUsize,
}

impl Observer for Patience {
    fn remark(&self, level: Level, text: &str) {
        self.said.fetch_add(1, Ordering::Relaxed);
        if level > Level::Detail {
            println!("{text}");
        }
    }

    fn stops(&self) -> bool {
        Instant::now() > self.until
    }
}

/// Merges five networks on two threads.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::new("mlp:16x2", &[8], 3)?;
    let models: Vec<Model> =
        (0..5).map(|seed| Model::of(&network, network.init(seed)?)).collect::<onebasin::Result<_>>()?;
    let many = Many::new(models)?;
    let observer = Patience { until: Instant::now() + Duration::from_mins(1), said: AtomicUsize::new(0) };
    let context = Context { observer: &observer, ..Context::default() };

    let options = MergeMany { method: Together::Rounds, ..MergeMany::default() };
    let mean = Threads::new(2)?.run(|| options.run(&many, &context))?;
    let found = mean.found.expect("they were aligned");
    println!("similarity of all pairs {:.3} → {:.3}, {}", found.start_objective, found.objective, found.stop);
    println!("{} remarks on the way", observer.said.load(Ordering::Relaxed));
    Ok(())
}
