//! The algorithms, one file each; what they share is in `encode`, `vary`, `surrogate` and `searcher`.

mod cmaes;
mod evolution;
mod exhaustive;
mod greedy;
mod halving;
mod mcts;
mod nsga2;
mod quasi;
mod random;
mod smbo;
mod tpe;

pub use cmaes::CmaEs;
pub use evolution::Evolution;
pub use exhaustive::Exhaustive;
pub use greedy::Greedy;
pub use halving::{Asha, Budgets, Halving};
pub use mcts::Mcts;
pub use nsga2::{Nsga2, dominates, fronts};
pub use quasi::Quasi;
pub use random::Random;
pub use smbo::{Smbo, Surrogate};
pub use tpe::Tpe;

#[cfg(test)]
mod tests;
