//! The scalar graph of a plan, evaluated on the host in f64 as soon as what it needs is known.

use merge_abi::{Plan, ScalarId, ScalarOp, StatId};

/// Values of scalars and statistics that are known so far.
#[derive(Debug)]
pub struct Scalars<'p> {
    ops: &'p [ScalarOp],
    settings: Vec<f64>,
    stats: Vec<Option<f64>>,
    known: Vec<Option<f64>>,
    /// Scratch of [`Scalars::value`]; recursion would overflow the stack on long sums.
    pending: Vec<ScalarId>,
}

impl<'p> Scalars<'p> {
    /// No statistics are known yet. `settings` are by [`merge_abi::SettingId`].
    pub fn new(plan: &'p Plan, settings: Vec<f64>) -> Scalars<'p> {
        Scalars {
            ops: &plan.scalars,
            settings,
            stats: vec![None; plan.stats as usize],
            known: vec![None; plan.scalars.len()],
            pending: Vec::new(),
        }
    }

    /// Makes a statistic known.
    pub fn publish(&mut self, stat: StatId, value: f64) {
        self.stats[stat.0 as usize] = Some(value);
    }

    /// A statistic, if it is known.
    pub fn stat(&self, stat: StatId) -> Option<f64> {
        self.stats[stat.0 as usize]
    }

    /// The value of a scalar, or none while a statistic that it needs is unknown.
    pub fn value(&mut self, id: ScalarId) -> Option<f64> {
        self.pending.clear();
        self.pending.push(id);
        while let Some(&at) = self.pending.last() {
            if self.known[at.0 as usize].is_none() {
                let before = self.pending.len();
                let value = match self.ops[at.0 as usize] {
                    ScalarOp::Const(x) => Some(x),
                    ScalarOp::Setting(s) => Some(self.settings[s.0 as usize]),
                    ScalarOp::Stat(s) => Some(self.stats[s.0 as usize]?),
                    ScalarOp::Unary(f, a) => self.need(a).map(|a| f.eval(a)),
                    ScalarOp::Binary(f, a, b) => {
                        let (a, b) = (self.need(a), self.need(b));
                        a.zip(b).map(|(a, b)| f.eval(a, b))
                    }
                    ScalarOp::Select(c, a, b) => {
                        let (c, a, b) = (self.need(c), self.need(a), self.need(b));
                        c.zip(a.zip(b)).map(|(c, (a, b))| if c != 0.0 { a } else { b })
                    }
                };
                if self.pending.len() > before {
                    continue;
                }
                self.known[at.0 as usize] = value;
            }
            self.pending.pop();
        }
        self.known[id.0 as usize]
    }

    fn need(&mut self, id: ScalarId) -> Option<f64> {
        let known = self.known[id.0 as usize];
        if known.is_none() {
            self.pending.push(id);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merge_abi::{BinaryFn, Setting, SettingId, UnaryFn};

    #[test]
    fn values_wait_for_their_statistics() {
        let plan = Plan {
            settings: vec![Setting { name: "w".into(), default: 1.0, range: None }],
            stats: 1,
            scalars: vec![
                ScalarOp::Setting(SettingId(0)),
                ScalarOp::Stat(StatId(0)),
                ScalarOp::Unary(UnaryFn::Sqrt, ScalarId(1)),
                ScalarOp::Binary(BinaryFn::Mul, ScalarId(0), ScalarId(2)),
                ScalarOp::Select(ScalarId(0), ScalarId(3), ScalarId(2)),
            ],
            ..Plan::default()
        };
        let mut scalars = Scalars::new(&plan, vec![3.0]);
        assert_eq!(scalars.value(ScalarId(0)), Some(3.0));
        assert_eq!(scalars.value(ScalarId(4)), None);
        scalars.publish(StatId(0), 16.0);
        assert_eq!(scalars.value(ScalarId(4)), Some(12.0));
    }

    #[test]
    fn long_chains_need_no_stack() {
        let n = 300_000;
        let mut scalars = vec![ScalarOp::Const(1.0)];
        for i in 0..n {
            scalars.push(ScalarOp::Binary(BinaryFn::Add, ScalarId(i), ScalarId(0)));
        }
        let plan = Plan { scalars, ..Plan::default() };
        assert_eq!(Scalars::new(&plan, vec![]).value(ScalarId(n)), Some(f64::from(n) + 1.0));
    }
}
