//! Models of the objective: what is learnt from trials about candidates not yet tried.

pub mod features;
pub mod forest;
pub mod parzen;
pub mod ridge;

pub use features::Features;
pub use forest::Forest;
pub use ridge::Ridge;

/// How much a candidate is expected to exceed the best score: `s * (z Phi(z) + phi(z))`, `z = (mean - best) / s` (Jones et al. 1998).
pub fn expected_improvement(mean: f64, deviation: f64, best: f64) -> f64 {
    if deviation <= 0.0 {
        return (mean - best).max(0.0);
    }
    let z = (mean - best) / deviation;
    let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * std::f64::consts::PI);
    let below = 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
    deviation * (z * below + density)
}
