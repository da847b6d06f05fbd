//! The transforms of Winograd's form along one axis, on several channels at once.

use super::super::Real;

/// Results of a tile along each axis.
pub(super) const TILE: usize = 4;
/// Pixels under it.
pub(super) const PIXELS: usize = TILE + 2;
/// Channels that are transformed at once.
pub(super) const LANES: usize = 16;

/// So many channels of one pixel.
pub(super) type ChannelLane<T> = [T; LANES];

/// The channels that start here.
#[inline(always)]
pub(super) fn lane<T: Real>(from: &[T], start: usize) -> ChannelLane<T> {
    let mut lane = [T::zero(); LANES];
    lane.copy_from_slice(&from[start..start + LANES]);
    lane
}

/// A lane of each of these pixels, zeros where there is none.
#[inline(always)]
pub(super) fn lanes<T: Real>(from: &[T], starts: &[Option<usize>; PIXELS], channel: usize) -> [ChannelLane<T>; PIXELS] {
    let mut lanes = [[T::zero(); LANES]; PIXELS];
    for (to, start) in lanes.iter_mut().zip(starts) {
        if let Some(start) = start {
            *to = lane(from, start + channel);
        }
    }
    lanes
}

/// A lane made number by number.
#[inline(always)]
pub(super) fn fill<T: Real>(make: impl Fn(usize) -> T) -> ChannelLane<T> {
    let mut lane = [T::zero(); LANES];
    for (k, value) in lane.iter_mut().enumerate() {
        *value = make(k);
    }
    lane
}

/// Writes channels from here on.
#[inline(always)]
pub(super) fn put<T: Real>(to: &mut [T], start: usize, value: &ChannelLane<T>) {
    to[start..start + LANES].copy_from_slice(value);
}

/// `Bᵀ d` of every lane.
#[inline(always)]
pub(super) fn pixels_of<T: Real>(d: &[ChannelLane<T>; PIXELS]) -> [ChannelLane<T>; PIXELS] {
    let (two, four, five) = (T::of(2.0), T::of(4.0), T::of(5.0));
    [
        fill(|k| four * d[0][k] - five * d[2][k] + d[4][k]),
        fill(|k| d[3][k] + d[4][k] - four * (d[1][k] + d[2][k])),
        fill(|k| four * (d[1][k] - d[2][k]) + d[4][k] - d[3][k]),
        fill(|k| two * (d[3][k] - d[1][k]) + d[4][k] - d[2][k]),
        fill(|k| two * (d[1][k] - d[3][k]) + d[4][k] - d[2][k]),
        fill(|k| four * d[1][k] - five * d[3][k] + d[5][k]),
    ]
}

/// `Aᵀ m` of every lane.
#[inline(always)]
pub(super) fn results_of<T: Real>(m: &[ChannelLane<T>; PIXELS]) -> [ChannelLane<T>; TILE] {
    let (two, four, eight) = (T::of(2.0), T::of(4.0), T::of(8.0));
    [
        fill(|k| m[0][k] + (m[1][k] + m[2][k]) + (m[3][k] + m[4][k])),
        fill(|k| (m[1][k] - m[2][k]) + two * (m[3][k] - m[4][k])),
        fill(|k| (m[1][k] + m[2][k]) + four * (m[3][k] + m[4][k])),
        fill(|k| (m[1][k] - m[2][k]) + eight * (m[3][k] - m[4][k]) + m[5][k]),
    ]
}

/// `A y` of every lane.
#[inline(always)]
pub(super) fn spread_of<T: Real>(y: &[ChannelLane<T>; TILE]) -> [ChannelLane<T>; PIXELS] {
    let (two, four, eight) = (T::of(2.0), T::of(4.0), T::of(8.0));
    [
        y[0],
        fill(|k| (y[0][k] + y[2][k]) + (y[1][k] + y[3][k])),
        fill(|k| (y[0][k] + y[2][k]) - (y[1][k] + y[3][k])),
        fill(|k| (y[0][k] + four * y[2][k]) + (two * y[1][k] + eight * y[3][k])),
        fill(|k| (y[0][k] + four * y[2][k]) - (two * y[1][k] + eight * y[3][k])),
        y[3],
    ]
}

/// `G g` of every lane.
#[inline(always)]
pub(super) fn kernel_of<T: Real>([a, b, c]: &[ChannelLane<T>; 3]) -> [ChannelLane<T>; PIXELS] {
    let [sixth, twelfth, twentyfourth] = [6.0, 12.0, 24.0].map(|n| T::of(1.0 / n));
    let quarter = T::of(0.25);
    [
        fill(|k| quarter * a[k]),
        fill(|k| -sixth * (a[k] + c[k]) - sixth * b[k]),
        fill(|k| -sixth * (a[k] + c[k]) + sixth * b[k]),
        fill(|k| (twentyfourth * a[k] + sixth * c[k]) + twelfth * b[k]),
        fill(|k| (twentyfourth * a[k] + sixth * c[k]) - twelfth * b[k]),
        *c,
    ]
}

/// `Gᵀ u` of every lane.
#[inline(always)]
pub(super) fn taps_of<T: Real>(u: &[ChannelLane<T>; PIXELS]) -> [ChannelLane<T>; 3] {
    let [sixth, twelfth, twentyfourth] = [6.0, 12.0, 24.0].map(|n| T::of(1.0 / n));
    let quarter = T::of(0.25);
    [
        fill(|k| quarter * u[0][k] - sixth * (u[1][k] + u[2][k]) + twentyfourth * (u[3][k] + u[4][k])),
        fill(|k| sixth * (u[2][k] - u[1][k]) + twelfth * (u[3][k] - u[4][k])),
        fill(|k| sixth * ((u[3][k] + u[4][k]) - (u[1][k] + u[2][k])) + u[5][k]),
    ]
}
