//! What is measured, and what was asked for.

/// One row of the table.
pub struct Method {
    pub name: &'static str,
    pub inputs: &'static [&'static str],
    /// Names from `std.merging`.
    uses: &'static str,
    value: &'static str,
    /// Wall time over the floor's, at most.
    pub ratio: f64,
    /// Peak anonymous memory in MB, at most.
    pub memory_mb: f64,
}

const fn row(
    name: &'static str,
    inputs: &'static [&'static str],
    uses: &'static str,
    value: &'static str,
    ratio: f64,
    memory_mb: f64,
) -> Method {
    Method { name, inputs, uses, value, ratio, memory_mb }
}

const ONE: &[&str] = &["base"];
const TWO: &[&str] = &["a", "b"];
const THREE: &[&str] = &["a", "b", "c"];
const FOUR: &[&str] = &["base", "a", "b", "c"];

pub const METHODS: &[Method] = &[
    row("copy", ONE, "", "base", 1.2, 400.0),
    row("linear2", TWO, "linear", "linear([a, b], [0.6, 0.4])", 1.2, 400.0),
    row("linear3", THREE, "linear", "linear([a, b, c], [0.5, 0.3, 0.2])", 1.2, 400.0),
    row("task_arithmetic3", FOUR, "task_arithmetic", "task_arithmetic(base, [a, b, c], lambda: 0.3)", 1.2, 400.0),
    row("lerp", TWO, "", "lerp(a, b, 0.3)", 1.2, 400.0),
    row("slerp2", TWO, "slerp", "slerp(a, b, t: 0.4)", 1.6, 400.0),
    row("model_stock3", FOUR, "model_stock", "model_stock(base, [a, b, c])", 1.6, 400.0),
    row("ties3", FOUR, "ties", "ties(base, [a, b, c], density: 0.5)", 2.5, 600.0),
    row("breadcrumbs3", FOUR, "breadcrumbs", "breadcrumbs(base, [a, b, c], keep: 0.5, drop: 0.1)", 2.5, 600.0),
    row("dare3", FOUR, "dare", "dare(base, [a, b, c], density: 0.5, seed: 7)", 2.0, 600.0),
    row("dare_ties3", FOUR, "dare_ties", "dare_ties(base, [a, b, c], [0.5, 0.3, 0.2], density: 0.5, seed: 7)", 2.0, 600.0),
];

impl Method {
    /// The recipe's text; the checkpoints lie beside it.
    pub fn recipe(&self) -> String {
        let uses = if self.uses.is_empty() { String::new() } else { format!("use std.merging.{}\n", self.uses) };
        let lets: String = self.inputs.iter().map(|i| format!("let {i} = checkpoint(\"{i}\")\n")).collect();
        format!("{uses}{lets}save {} to \"out\"\n", self.value)
    }
}

/// TIES over three fine-tunes of a 70B model, by layers.
pub fn startup_recipe() -> String {
    "use std.merging.ties\n\
     let base = checkpoint(\"base\")\nlet a = checkpoint(\"a\")\nlet b = checkpoint(\"b\")\nlet c = checkpoint(\"c\")\n\
     let merged = like base {\n    \"model.layers.{l}.**\" => ties(base, [a, b, c], density: 0.5)\n    _ => mean([a, b, c])\n}\n\
     save merged to \"out\"\n"
        .to_owned()
}
