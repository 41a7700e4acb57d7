//! What start values need to know: the shape of the tensor that starts, and its name, by which random ones are drawn.

use super::super::context::Cx;
use std::rc::Rc;

/// The `new` tensor whose start value is evaluated.
pub(in super::super) struct Starting {
    /// Its declared shape, if it has one.
    pub shape: Option<Rc<[u64]>>,
    /// With its path.
    pub name: String,
    /// How many loops there are around it: only those inside the start value tell draws apart.
    pub turns: usize,
}

impl Cx<'_> {
    /// The shape of the `new` tensor whose start value is evaluated; none where there is none, or it declares none.
    pub(crate) fn start_shape(&self) -> Option<Rc<[u64]>> {
        self.starting.as_ref().and_then(|s| s.shape.clone())
    }

    /// Evaluates what the `new` tensor of this name and shape starts as. The name comes back with its path.
    pub(crate) fn starting<T>(&mut self, name: &str, shape: Rc<[u64]>, body: impl FnOnce(&mut Self) -> T) -> (T, String) {
        self.starting_as(name, Some(shape), body)
    }

    /// [`Cx::starting`] of a tensor that may declare no shape.
    pub(super) fn starting_as<T>(
        &mut self,
        name: &str,
        shape: Option<Rc<[u64]>>,
        body: impl FnOnce(&mut Self) -> T,
    ) -> (T, String) {
        let starting = Starting { shape, name: self.parameter_name(name), turns: self.turns.len() };
        let outer = self.starting.replace(starting);
        let value = body(self);
        let own = std::mem::replace(&mut self.starting, outer);
        (value, own.map(|s| s.name).unwrap_or_default())
    }

    /// Evaluates what stands in a layer with parameters of its own, whose names it leads to.
    pub(crate) fn within_layer<T>(&mut self, name: &str, body: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name);
        let made = self.graph.len();
        let value = body(self);
        self.end_scope(made);
        self.path.pop();
        value
    }

    /// Whether a function is tried as written.
    pub(crate) fn is_symbolic(&self) -> bool {
        self.symbolic
    }

    /// Whether a start value is evaluated.
    pub(crate) fn is_starting(&self) -> bool {
        self.starting.is_some()
    }

    /// How many entries of the input each entry of the output is a sum of, where a tensor of this shape is applied, and how many
    /// entries of the output each entry of the input is a part of.
    ///
    /// A kernel has the axes `[filters, channels / groups, sizes..]`, so it is all but the first. A matrix of a network is applied as
    /// `x @ w` and has the axes `[inputs, outputs]`; one that makes up a weight of a model has them as checkpoints store weights,
    /// `[outputs, inputs]`.
    pub(crate) fn fans(&self, shape: &[u64]) -> (u64, u64) {
        let product = |axes: &[u64]| axes.iter().fold(1u64, |n, d| n.saturating_mul(*d));
        match shape {
            [] => (1, 1),
            [n] => (*n, *n),
            [first, second] if self.in_network => (*first, *second),
            [outputs, inputs] => (*inputs, *outputs),
            [filters, channels, sizes @ ..] => {
                let size = product(sizes);
                (channels.saturating_mul(size), filters.saturating_mul(size))
            }
        }
    }
}
