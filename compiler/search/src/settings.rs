//! Which algorithm, with which settings: what `using: mcts(seed: 7)` says.

use crate::algorithms::{self, CmaEs, Evolution, Exhaustive, Greedy, Halving, Mcts, Nsga2, Quasi, Random, Smbo, Tpe};
use crate::searcher::Searcher;
use crate::space::Space;
use crate::surrogate::Features;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// What is to be made large or small: a metric of the objective, or a cost known without trying.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    pub metric: String,
    pub maximize: bool,
}

/// An algorithm with its settings; [`Algorithm::parse`] reads them, each has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Exhaustive(Nothing),
    Random(RandomSettings),
    Quasi(Nothing),
    Mcts(MctsSettings),
    Smbo(SmboSettings),
    Tpe(TpeSettings),
    Evolution(EvolutionSettings),
    Greedy(GreedySettings),
    CmaEs(CmaEsSettings),
    Halving(HalvingSettings),
    Hyperband(BudgetSettings),
    Asha(BudgetSettings),
    Nsga2(Nsga2Settings),
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $default:expr),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind),* }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default),* }
            }
        }
    )*};
}

settings! {
    /// Nothing to set.
    Nothing {}
    RandomSettings {
        /// Uniform over candidates instead of decision by decision.
        leaves: bool = false,
    }
    MctsSettings {
        /// The constant of UCT, for scores mapped to 0 to 1.
        exploration: f64 = 0.15,
        /// Halve ordered domains, and share statistics by decision.
        bisect: bool = true,
    }
    SmboSettings {
        /// `ridge` or `forest`.
        surrogate: SurrogateName = SurrogateName::Ridge,
        /// Random proposals before the first of the surrogate.
        startup: usize = 10,
    }
    TpeSettings {
        /// Random proposals before the first of the estimator.
        startup: usize = 10,
    }
    EvolutionSettings {
        population: usize = 16,
        tournament: usize = 6,
        /// The chance that a child has two parents.
        crossover: f64 = 0.3,
    }
    GreedySettings {
        /// How many values of a range are tried.
        values: usize = 8,
    }
    CmaEsSettings {
        /// The first step, as a part of each range.
        sigma: f64 = 1.0 / 6.0,
        /// Candidates in a generation; `4 + 3 ln n` by default.
        population: Option<usize> = None,
    }
    HalvingSettings {
        /// Candidates that start.
        candidates: usize = 27,
        min: f64 = 1.0,
        max: f64 = 27.0,
        eta: f64 = 3.0,
    }
    BudgetSettings {
        /// The smallest budget.
        min: f64 = 1.0,
        /// The largest budget.
        max: f64 = 27.0,
        /// One in `eta` goes on, with `eta` times the budget.
        eta: f64 = 3.0,
    }
    Nsga2Settings {
        population: usize = 16,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SurrogateName {
    Forest,
    Ridge,
}

/// The names [`Algorithm::parse`] knows.
pub const NAMES: &[&str] = &[
    "exhaustive",
    "random",
    "quasi",
    "mcts",
    "smbo",
    "tpe",
    "evolution",
    "greedy",
    "cmaes",
    "halving",
    "hyperband",
    "asha",
    "nsga2",
];

impl Default for Algorithm {
    fn default() -> Algorithm {
        Algorithm::Tpe(TpeSettings::default())
    }
}

impl Algorithm {
    /// The algorithm of a name with named settings, or what is wrong with them.
    pub fn parse(name: &str, settings: Map<String, Json>) -> Result<Algorithm, String> {
        if !NAMES.contains(&name) {
            return Err(format!("there is no algorithm `{name}`; there are {}", NAMES.join(", ")));
        }
        let one = Map::from_iter([(name.to_owned(), Json::Object(settings))]);
        let algorithm: Algorithm = serde_json::from_value(Json::Object(one)).map_err(|e| format!("`{name}`: {e}"))?;
        algorithm.check()?;
        Ok(algorithm)
    }

    pub fn name(&self) -> &'static str {
        match self {
            Algorithm::Exhaustive(_) => "exhaustive",
            Algorithm::Random(_) => "random",
            Algorithm::Quasi(_) => "quasi",
            Algorithm::Mcts(_) => "mcts",
            Algorithm::Smbo(_) => "smbo",
            Algorithm::Tpe(_) => "tpe",
            Algorithm::Evolution(_) => "evolution",
            Algorithm::Greedy(_) => "greedy",
            Algorithm::CmaEs(_) => "cmaes",
            Algorithm::Halving(_) => "halving",
            Algorithm::Hyperband(_) => "hyperband",
            Algorithm::Asha(_) => "asha",
            Algorithm::Nsga2(_) => "nsga2",
        }
    }

    /// Does it deal out budgets, so that the objective must take one?
    pub fn uses_budget(&self) -> bool {
        matches!(self, Algorithm::Halving(_) | Algorithm::Hyperband(_) | Algorithm::Asha(_))
    }

    /// Can it have more than one goal?
    fn takes_several_goals(&self) -> bool {
        matches!(self, Algorithm::Nsga2(_) | Algorithm::Random(_) | Algorithm::Quasi(_) | Algorithm::Exhaustive(_))
    }

    fn check(&self) -> Result<(), String> {
        let name = self.name();
        let demand = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("`{name}`: {what}")) };
        let budgets = |min: f64, max: f64, eta: f64| {
            demand(min > 0.0 && min <= max && max.is_finite(), "budgets need 0 < min <= max")?;
            demand(eta.is_finite(), "eta must be finite")?;
            demand(max / min <= 1e5 && eta >= 1.1, "max is at most 100000 times min, and eta at least 1.1")
        };
        match self {
            Algorithm::Mcts(s) => demand(s.exploration >= 0.0, "exploration must not be negative"),
            Algorithm::Evolution(s) => {
                demand(s.population >= 2, "population must be at least 2")?;
                demand(s.tournament >= 1 && s.tournament <= s.population, "tournament must be 1 to population")?;
                demand((0.0..=1.0).contains(&s.crossover), "crossover is a probability")
            }
            Algorithm::Greedy(s) => demand((2..=1 << 20).contains(&s.values), "values must be at least 2"),
            Algorithm::CmaEs(s) => {
                demand(s.sigma > 0.0 && s.sigma <= 1.0, "sigma must be in 0 to 1, a part of each range")?;
                demand(s.population.is_none_or(|p| (2..=1 << 20).contains(&p)), "population must be at least 2")
            }
            Algorithm::Halving(s) => {
                demand((1..=1 << 20).contains(&s.candidates), "candidates must be 1 to 1048576")?;
                budgets(s.min, s.max, s.eta)
            }
            Algorithm::Hyperband(s) | Algorithm::Asha(s) => budgets(s.min, s.max, s.eta),
            Algorithm::Nsga2(s) => demand(s.population >= 4, "population must be at least 4"),
            _ => Ok(()),
        }
    }

    /// The algorithm, ready to propose; or why it does not suit the space or the goals.
    pub fn start(&self, space: &Space, goals: &[Goal], seed: u64) -> Result<Box<dyn Searcher>, String> {
        self.check()?;
        if goals.is_empty() {
            return Err("a search needs something to maximize or minimize".into());
        }
        if goals.len() > 1 && !self.takes_several_goals() {
            let name = self.name();
            return Err(format!("`{name}` has one goal, not {}; `nsga2` takes several", goals.len()));
        }
        let budgets = |s: &BudgetSettings| algorithms::Budgets { min: s.min, max: s.max, eta: s.eta };
        Ok(match self {
            Algorithm::Exhaustive(_) => {
                if let Some((path, _)) = space.decisions().iter().find(|(_, domains)| domains.iter().any(|d| d.reals() > 0)) {
                    return Err(format!("`exhaustive` cannot list the reals of `{path}`; pin it or give it a list"));
                }
                Box::new(Exhaustive::default())
            }
            Algorithm::Random(s) => Box::new(Random::new(s.leaves, seed)),
            Algorithm::Quasi(_) => Box::new(Quasi::new(space, seed)),
            Algorithm::Mcts(s) => Box::new(Mcts::new(s.exploration, s.bisect, seed)),
            Algorithm::Smbo(s) => {
                let surrogate = match s.surrogate {
                    SurrogateName::Forest => algorithms::Surrogate::Forest,
                    SurrogateName::Ridge => algorithms::Surrogate::Ridge,
                };
                Box::new(Smbo::new(Features::new(space), surrogate, s.startup, seed))
            }
            Algorithm::Tpe(s) => Box::new(Tpe::new(s.startup, seed)),
            Algorithm::Evolution(s) => Box::new(Evolution::new(s.population, s.tournament, s.crossover, seed)),
            Algorithm::Greedy(s) => Box::new(Greedy::new(s.values, seed)),
            Algorithm::CmaEs(s) => {
                let coordinate = |d: &&crate::Domain| d.reals() > 0 || matches!(d, crate::Domain::Int { .. });
                if !space.decisions().iter().any(|(_, domains)| domains.iter().any(coordinate)) {
                    return Err("`cmaes` varies real decisions, and this space has none; try `evolution` or `tpe`".into());
                }
                Box::new(CmaEs::new(s.sigma, s.population, seed))
            }
            Algorithm::Halving(s) => {
                let budgets = algorithms::Budgets { min: s.min, max: s.max, eta: s.eta };
                Box::new(Halving::successive(s.candidates, budgets, seed))
            }
            Algorithm::Hyperband(s) => Box::new(Halving::hyperband(budgets(s), seed)),
            Algorithm::Asha(s) => Box::new(algorithms::Asha::new(budgets(s), seed)),
            Algorithm::Nsga2(s) => Box::new(Nsga2::new(s.population, seed)),
        })
    }
}
