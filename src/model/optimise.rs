//! Finds where a smooth function of a few positive parameters is smallest, and how sharply it is so.
//!
//! Everything works on the logarithms of the parameters, inside a box: no parameter can turn negative, and one that runs away stops at a
//! named wall instead of overflowing. [`minimise`] is BFGS with gradients (Nocedal & Wright 2006, algorithm 6.1), kept in the box by
//! projection; where that gets stuck, Nelder & Mead's simplex (1965, Comput. J. 7, 308–313) goes on without gradients. [`curvature`] turns
//! the second derivatives at the minimum into variances.

/// The value of a function and its gradient.
pub type Valued<const N: usize> = (f64, [f64; N]);

/// Steps of BFGS at most, and of the simplex.
const STEPS_MAX: usize = 500;
const SIMPLEX_STEPS_MAX: usize = 2_000;
/// Halvings of one step at most.
const HALVINGS_MAX: usize = 40;
/// No step changes a parameter by more than this factor (e²).
const STEP_MAX: f64 = 2.0;
/// A gradient this small ends the search.
const GRADIENT_DONE: f64 = 1e-9;
/// A gradient this small is a minimum as far as doubles can tell.
const GRADIENT_FLAT: f64 = 1e-6;
/// Rounding of the function's value, relative.
const ROUNDING: f64 = 1e-15;
/// This near to a wall a parameter stands at it: along a valley the search would creep there for ever.
const WALL_NEAR: f64 = 1e-4;
/// Distance of the points that are compared for a derivative.
const DIFFERENCE: f64 = 1e-4;
/// A direction whose curvature is less than this share of the sharpest one is flat: the data says nothing about it.
const FLAT_SHARE: f64 = 1e-8;
/// A parameter with more than this share in flat directions is not known.
const UNKNOWN_SHARE: f64 = 1e-3;

/// The walls: lowest and highest logarithm of each parameter.
#[derive(Debug, Clone, Copy)]
pub struct Walls<const N: usize> {
    pub low: [f64; N],
    pub high: [f64; N],
}

/// Where a function is smallest.
#[derive(Debug, Clone, Copy)]
pub struct Minimum<const N: usize> {
    /// Logarithms of the parameters.
    pub at: [f64; N],
    pub value: f64,
    /// Whether the gradient vanished there (but for parameters at a wall).
    pub converged: bool,
    /// Which parameters stand at a wall.
    pub at_wall: [bool; N],
}

/// How well the parameters are known, from the second derivatives at a minimum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curvature<const N: usize> {
    /// Covariance of the logarithms, over the directions the data speaks about; zero in the others.
    pub covariance: [[f64; N]; N],
    /// Standard error of each logarithm; `None` where the data does not say.
    pub standard_error: [Option<f64>; N],
}

impl<const N: usize> Walls<N> {
    fn keep_inside(&self, at: &[f64; N]) -> [f64; N] {
        std::array::from_fn(|i| at[i].clamp(self.low[i], self.high[i]))
    }

    /// Whether a parameter stands at the lower or at the upper wall.
    fn walled(&self, at: &[f64; N], i: usize) -> (bool, bool) {
        (at[i] <= self.low[i] + WALL_NEAR, at[i] >= self.high[i] - WALL_NEAR)
    }

    fn touched(&self, at: &[f64; N]) -> [bool; N] {
        std::array::from_fn(|i| self.walled(at, i) != (false, false))
    }

    /// The gradient without what pushes against a wall.
    fn free(&self, at: &[f64; N], gradient: &[f64; N]) -> [f64; N] {
        std::array::from_fn(|i| {
            let (low, high) = self.walled(at, i);
            if (low && gradient[i] > 0.0) || (high && gradient[i] < 0.0) { 0.0 } else { gradient[i] }
        })
    }
}

/// Where a search begins, and the inverse of the second derivatives as far as they are known there.
#[derive(Debug, Clone, Copy)]
pub struct Start<const N: usize> {
    pub at: [f64; N],
    pub inverse: [[f64; N]; N],
}

impl<const N: usize> Start<N> {
    /// Nothing is known but a place.
    pub fn at(at: [f64; N]) -> Start<N> {
        Start { at, inverse: identity() }
    }

    /// Where a search over `observations` of the same kind ended, with the covariance found there; what it does not speak about is not known.
    pub fn after(at: [f64; N], covariance: &[[f64; N]; N], observations: f64) -> Start<N> {
        let mut inverse = covariance.map(|row| row.map(|c| c * observations));
        for (i, row) in inverse.iter_mut().enumerate() {
            if row[i] <= 0.0 {
                row[i] = 1.0;
            }
        }
        Start { at, inverse }
    }
}

/// The smallest value of `f` within walls. Where `f` is not finite it counts as a wall too.
pub fn minimise<const N: usize>(start: Start<N>, walls: &Walls<N>, f: impl Fn(&[f64; N]) -> Valued<N>) -> Minimum<N> {
    let first = descend(Start { at: walls.keep_inside(&start.at), ..start }, walls, &f);
    if first.converged {
        return first;
    }
    let lower = simplex(first.at, walls, |at| f(at).0);
    descend(Start::at(lower), walls, &f)
}

/// BFGS.
fn descend<const N: usize>(start: Start<N>, walls: &Walls<N>, f: &impl Fn(&[f64; N]) -> Valued<N>) -> Minimum<N> {
    let Start { mut at, mut inverse } = start;
    let (mut value, mut gradient) = f(&at);
    for _ in 0..STEPS_MAX {
        let free = walls.free(&at, &gradient);
        if largest(&free) <= GRADIENT_DONE {
            break;
        }
        let mut direction = downhill(&inverse, &free);
        if dot(&direction, &free) >= 0.0 {
            inverse = identity();
            direction = downhill(&inverse, &free);
        }
        let Some((next, next_value, next_gradient)) = step(&at, value, &free, &direction, walls, f) else {
            if inverse == identity() {
                break;
            }
            inverse = identity();
            continue;
        };
        let moved: [f64; N] = std::array::from_fn(|i| next[i] - at[i]);
        let turned: [f64; N] = std::array::from_fn(|i| next_gradient[i] - gradient[i]);
        learn(&mut inverse, &moved, &turned);
        (at, value, gradient) = (next, next_value, next_gradient);
    }
    let converged = value.is_finite() && largest(&walls.free(&at, &gradient)) <= GRADIENT_FLAT;
    Minimum { at, value, converged, at_wall: walls.touched(&at) }
}

/// −H·g in the parameters that are free to move.
fn downhill<const N: usize>(inverse: &[[f64; N]; N], free: &[f64; N]) -> [f64; N] {
    let direction: [f64; N] = std::array::from_fn(|i| if free[i] == 0.0 { 0.0 } else { -dot(&inverse[i], free) });
    let scale = (STEP_MAX / largest(&direction)).min(1.0);
    direction.map(|d| d * scale)
}

/// A point along a direction that is lower (Armijo's rule), with its value and gradient.
fn step<const N: usize>(
    at: &[f64; N],
    value: f64,
    free: &[f64; N],
    direction: &[f64; N],
    walls: &Walls<N>,
    f: &impl Fn(&[f64; N]) -> Valued<N>,
) -> Option<([f64; N], f64, [f64; N])> {
    let mut length = 1.0;
    for _ in 0..HALVINGS_MAX {
        let next = walls.keep_inside(&std::array::from_fn(|i| at[i] + length * direction[i]));
        let moved: [f64; N] = std::array::from_fn(|i| next[i] - at[i]);
        let (next_value, next_gradient) = f(&next);
        let enough = value + 1e-4 * dot(free, &moved) + ROUNDING * value.abs();
        let finite = next_value.is_finite() && next_gradient.iter().all(|g| g.is_finite());
        // At the bottom the value no longer tells downhill from rounding, the gradient does.
        let smaller = next_value < value || largest(&walls.free(&next, &next_gradient)) < largest(free);
        if finite && next_value <= enough && smaller && moved != [0.0; N] {
            return Some((next, next_value, next_gradient));
        }
        length /= 2.0;
    }
    None
}

/// BFGS's update of the inverse of the second derivatives.
fn learn<const N: usize>(inverse: &mut [[f64; N]; N], moved: &[f64; N], turned: &[f64; N]) {
    let curve = dot(moved, turned);
    if curve <= 1e-10 * dot(moved, moved).sqrt() * dot(turned, turned).sqrt() {
        return;
    }
    let turned_by: [f64; N] = std::array::from_fn(|i| dot(&inverse[i], turned));
    let spread = (1.0 + dot(turned, &turned_by) / curve) / curve;
    for i in 0..N {
        for j in 0..N {
            inverse[i][j] += spread * moved[i] * moved[j] - (turned_by[i] * moved[j] + moved[i] * turned_by[j]) / curve;
        }
    }
}

/// Nelder & Mead, with their coefficients 1, 2, ½, ½. The lowest point found.
fn simplex<const N: usize>(start: [f64; N], walls: &Walls<N>, f: impl Fn(&[f64; N]) -> f64) -> [f64; N] {
    let valued = |at: [f64; N]| {
        let at = walls.keep_inside(&at);
        let value = f(&at);
        (if value.is_finite() { value } else { f64::INFINITY }, at)
    };
    let mut corners: Vec<(f64, [f64; N])> = vec![valued(start)];
    for i in 0..N {
        let mut corner = start;
        // Inwards, or a corner at a wall would be no corner.
        corner[i] += if corner[i] + 0.5 > walls.high[i] { -0.5 } else { 0.5 };
        corners.push(valued(corner));
    }
    for _ in 0..SIMPLEX_STEPS_MAX {
        corners.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (best, worst) = (corners[0], corners[N]);
        if worst.0 - best.0 <= ROUNDING * best.0.abs() {
            break;
        }
        let centre: [f64; N] = std::array::from_fn(|i| corners[..N].iter().map(|c| c.1[i]).sum::<f64>() / N as f64);
        let along = |by: f64| valued(std::array::from_fn(|i| centre[i] + by * (worst.1[i] - centre[i])));
        let reflected = along(-1.0);
        let better = if reflected.0 < best.0 {
            let further = along(-2.0);
            if further.0 < reflected.0 { further } else { reflected }
        } else if reflected.0 < corners[N - 1].0 {
            reflected
        } else {
            let nearer = along(if reflected.0 < worst.0 { -0.5 } else { 0.5 });
            if nearer.0 < reflected.0.min(worst.0) { nearer } else { worst }
        };
        if better == worst {
            for corner in &mut corners[1..] {
                *corner = valued(std::array::from_fn(|i| f64::midpoint(best.1[i], corner.1[i])));
            }
        } else {
            corners[N] = better;
        }
    }
    corners.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(start, |c| c.1)
}

/// Variances of the logarithms at a minimum of the mean of `observations` negative log-likelihoods: the inverse of the second derivatives,
/// which are differences of the gradient.
pub fn curvature<const N: usize>(
    minimum: &Minimum<N>,
    observations: f64,
    f: impl Fn(&[f64; N]) -> Valued<N>,
) -> Curvature<N> {
    let mut second = [[0.0; N]; N];
    for i in (0..N).filter(|&i| !minimum.at_wall[i]) {
        let side = |by: f64| {
            let mut at = minimum.at;
            at[i] += by;
            f(&at).1
        };
        let (above, below) = (side(DIFFERENCE), side(-DIFFERENCE));
        for j in (0..N).filter(|&j| !minimum.at_wall[j]) {
            let slope = observations * (above[j] - below[j]) / (2.0 * DIFFERENCE);
            second[i][j] += slope / 2.0;
            second[j][i] += slope / 2.0;
        }
    }
    let (curves, directions) = principal(second);
    let sharpest = curves.iter().fold(0.0, |max: f64, c| max.max(*c));
    let mut covariance = [[0.0; N]; N];
    let mut unknown: [f64; N] = minimum.at_wall.map(|wall| if wall { 1.0 } else { 0.0 });
    for (n, curve) in curves.into_iter().enumerate() {
        let known = curve.is_finite() && curve > FLAT_SHARE * sharpest;
        for i in 0..N {
            let share = directions[i][n];
            if !known {
                unknown[i] += share * share;
                continue;
            }
            for j in 0..N {
                covariance[i][j] += share * directions[j][n] / curve;
            }
        }
    }
    let standard_error =
        std::array::from_fn(|i| (unknown[i] <= UNKNOWN_SHARE).then(|| covariance[i][i].max(0.0).sqrt()));
    Curvature { covariance, standard_error }
}

/// The standard error of a number that hangs on the parameters, by the delta method: √(gᵀ Σ g). `of` gets what is added to each logarithm.
pub fn delta_error<const N: usize>(covariance: &[[f64; N]; N], of: impl Fn([f64; N]) -> f64) -> f64 {
    let slopes: [f64; N] = std::array::from_fn(|i| {
        let nudged = |by: f64| of(std::array::from_fn(|j| if i == j { by } else { 0.0 }));
        (nudged(DIFFERENCE) - nudged(-DIFFERENCE)) / (2.0 * DIFFERENCE)
    });
    let variance: f64 = covariance.iter().zip(slopes).map(|(row, slope)| slope * dot(row, &slopes)).sum();
    variance.max(0.0).sqrt()
}

/// Eigenvalues and eigenvectors (in columns) of a symmetric matrix, by Jacobi's rotations (Golub & Van Loan 2013, §8.5).
fn principal<const N: usize>(mut m: [[f64; N]; N]) -> ([f64; N], [[f64; N]; N]) {
    /// Rounds over all pairs at most; a handful reaches the last bit.
    const ROUNDS_MAX: usize = 50;
    let mut vectors = identity::<N>();
    for _ in 0..ROUNDS_MAX {
        for p in 0..N {
            for q in p + 1..N {
                if m[p][q] == 0.0 || !m[p][q].is_finite() {
                    continue;
                }
                let theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for row in &mut m {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                for i in 0..N {
                    (m[p][i], m[q][i]) = (c * m[p][i] - s * m[q][i], s * m[p][i] + c * m[q][i]);
                    (vectors[i][p], vectors[i][q]) =
                        (c * vectors[i][p] - s * vectors[i][q], s * vectors[i][p] + c * vectors[i][q]);
                }
            }
        }
    }
    (std::array::from_fn(|i| m[i][i]), vectors)
}

fn identity<const N: usize>() -> [[f64; N]; N] {
    std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }))
}

fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn largest<const N: usize>(v: &[f64; N]) -> f64 {
    v.iter().fold(0.0, |max, x| if x.is_nan() { f64::INFINITY } else { f64::max(max, x.abs()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Walls<2> = Walls { low: [-20.0; 2], high: [20.0; 2] };

    /// Rosenbrock's banana (1960), smallest at (1, 1).
    fn banana(at: &[f64; 2]) -> Valued<2> {
        let [x, y] = *at;
        let bend = y - x * x;
        ((1.0 - x).powi(2) + 100.0 * bend * bend, [-2.0 * (1.0 - x) - 400.0 * x * bend, 200.0 * bend])
    }

    #[test]
    fn the_banana_is_found_with_and_without_gradients() {
        let found = minimise(Start::at([-1.2, 1.0]), &WIDE, banana);
        assert!(found.converged && found.at.iter().all(|x| (x - 1.0).abs() < 1e-6), "{found:?}");
        let found = simplex([-1.2, 1.0], &WIDE, |at| banana(at).0);
        assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn a_wall_stops_and_is_named() {
        let walls = Walls { low: [-3.0, -3.0], high: [0.5, 3.0] };
        let found = minimise(Start::at([0.0, 0.0]), &walls, banana);
        assert!(found.converged, "{found:?}");
        assert_eq!(found.at_wall, [true, false]);
        assert!((found.at[0] - 0.5).abs() < 2e-4 && (found.at[1] - found.at[0].powi(2)).abs() < 1e-6);
        let known = curvature(&found, 1.0, banana);
        assert_eq!(known.standard_error[0], None);
        assert!((known.standard_error[1].unwrap() - (1.0_f64 / 200.0).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_gradient_is_not_called_a_minimum() {
        let found = minimise(Start::at([-1.2, 1.0]), &WIDE, |at| (banana(at).0, [1.0, 1.0]));
        assert!(!found.converged);
        // The simplex still went where it is low.
        assert!(found.value < 1e-6, "{found:?}");
    }

    #[test]
    fn what_is_not_finite_is_a_wall() {
        let found = minimise(Start::at([1.0, 1.0]), &WIDE, |at| {
            let value = at[0] - at[0].ln() + at[1] * at[1];
            (value, [1.0 - 1.0 / at[0], 2.0 * at[1]])
        });
        assert!(found.converged && (found.at[0] - 1.0).abs() < 1e-8, "{found:?}");
    }

    #[test]
    fn variances_of_a_tilted_bowl_and_of_a_valley() {
        // Second derivatives [[2, 1], [1, 3]]: inverse [[3, −1], [−1, 2]] / 5.
        let bowl = |at: &[f64; 2]| {
            let [x, y] = *at;
            (x * x + x * y + 1.5 * y * y, [2.0 * x + y, x + 3.0 * y])
        };
        let found = minimise(Start::at([3.0, -2.0]), &WIDE, bowl);
        let known = curvature(&found, 10.0, bowl);
        assert!((known.covariance[0][0] - 0.06).abs() < 1e-9 && (known.covariance[0][1] + 0.02).abs() < 1e-9);
        assert!((known.standard_error[1].unwrap() - 0.2).abs() < 1e-9);
        // A valley along x = −y: nothing is known about either alone.
        let valley = |at: &[f64; 2]| {
            let sum = at[0] + at[1] - 1.0;
            (sum * sum, [2.0 * sum, 2.0 * sum])
        };
        let found = minimise(Start::at([3.0, 2.0]), &WIDE, valley);
        let known = curvature(&found, 1.0, valley);
        assert_eq!(known.standard_error, [None, None]);
        // Their sum is: variance 1/2.
        let [[a, b], [c, d]] = known.covariance;
        assert!((a + b + c + d - 0.5).abs() < 1e-6);
        let error = delta_error(&known.covariance, |by| 3.0 * (by[0] + by[1]));
        assert!((error - 3.0 * 0.5_f64.sqrt()).abs() < 1e-6, "{error}");
    }
}
