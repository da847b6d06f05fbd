//! Named random streams: one seed, one name, one sequence, the same on every platform and in every version.
//!
//! Every random choice has a name of its own (`order/3`, `init/fc1.weight`), so that a new choice never shifts an old
//! one.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::perm::Perm;

/// A stream of random numbers that depends on the seed and on its name, and on nothing else.
///
/// ChaCha8 keyed with the seed (8 bytes), the 64-bit FNV-1a hash of the name, and zeros. Streams with different names
/// are independent, so adding one never shifts another.
///
/// Source: Bernstein 2008 (ChaCha, here with 8 rounds), by `rand_chacha`.
///
/// ```
/// use onebasin_core::stream::Stream;
/// let first = |seed, name| Stream::new(seed, name).bits();
/// assert_eq!(first(0, "order/3"), first(0, "order/3"));
/// assert_ne!(first(0, "order/3"), first(0, "order/4"));
/// ```
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream called `name` of `seed`, at its beginning.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// assert_ne!(Stream::new(0, "a").bits(), Stream::new(1, "a").bits());
    /// ```
    pub fn new(seed: u64, name: &str) -> Self {
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&hash.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits; everything else is made of these.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// assert_eq!(Stream::new(0, "order/3").bits(), 0xe9e0_505b_c389_f523);
    /// ```
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, with 53 random bits: a multiple of 2⁻⁵³.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// let mut s = Stream::new(0, "waves");
    /// assert!((0..1000).all(|_| (0.0..1.0).contains(&s.uniform())));
    /// ```
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low..high`: `low + (high − low) · u` of one [`uniform`](Self::uniform) `u`.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// let mut s = Stream::new(0, "init/fc1.weight");
    /// assert!((0..1000).all(|_| s.range(-0.5, 0.5).abs() <= 0.5));
    /// ```
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..n`, without bias.
    ///
    /// # Panics
    /// If `n` is zero.
    /// ```
    /// use onebasin_core::stream::Stream;
    /// let (mut s, mut seen) = (Stream::new(0, "dice"), [0; 6]);
    /// (0..6000).for_each(|_| seen[s.below(6)] += 1);
    /// assert!(seen.iter().all(|n| (900..1100).contains(n)));
    /// ```
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let x = self.bits();
            if x < limit {
                return (x % n) as usize;
            }
        }
    }

    /// Standard normal: mean 0, variance 1.
    ///
    /// Formula: `√(−2 ln u) · cos(2π v)` of two uniform numbers, `u` in `(0, 1]` (Box and Muller 1958); the sine's twin
    /// is not kept, so every call takes two. Logarithm and cosine are `libm`'s, the same bits on every platform.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// let mut s = Stream::new(0, "noise");
    /// let mean = (0..10_000).map(|_| s.normal()).sum::<f64>() / 1e4;
    /// assert!(mean.abs() < 0.05);
    /// ```
    pub fn normal(&mut self) -> f64 {
        let u = 1.0 - self.uniform();
        let v = self.uniform();
        (-2.0 * libm::log(u)).sqrt() * libm::cos(std::f64::consts::TAU * v)
    }

    /// Puts items in a uniformly random order, in place (Fisher and Yates).
    ///
    /// Cost: one [`below`](Self::below) for every item but one.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// let mut items = ['a', 'b', 'c', 'd'];
    /// Stream::new(0, "shuffle").shuffle(&mut items);
    /// items.sort();
    /// assert_eq!(items, ['a', 'b', 'c', 'd']);
    /// ```
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A uniformly random permutation of `n` units.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// let p = Stream::new(0, "order/3").permutation(5);
    /// assert!(p.compose(&p.inverse()).is_identity());
    /// ```
    pub fn permutation(&mut self, n: usize) -> Perm {
        let mut indices: Vec<u32> = (0..n as u32).collect();
        self.shuffle(&mut indices);
        Perm::new(indices).expect("a shuffle of 0..n is a permutation")
    }
}
