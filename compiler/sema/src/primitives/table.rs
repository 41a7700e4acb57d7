//! The primitives as data: names, parameters, and which of them are there.
//!
//! Read by `resolve` (names, argument names and counts), by elaboration (binding of arguments) and by the
//! editor (completion). What a primitive computes lies beside this file; a primitive that is not there yet
//! still resolves, so that a recipe which uses it gets one honest message instead of "unknown name".

use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// A function of the language itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Primitive {
    pub name: &'static str,
    pub params: &'static [PrimParam],
    pub doc: &'static str,
    /// What to use outside of networks; empty if there is nothing.
    pub instead: &'static str,
}

/// A parameter of a [`Primitive`].
#[derive(Debug, PartialEq, Eq)]
pub struct PrimParam {
    pub name: &'static str,
    /// May be left out.
    pub default: bool,
    /// Bare words it takes besides values, such as `rows`.
    pub words: &'static [&'static str],
    /// Must be given by name.
    pub named_only: bool,
    /// A string here is a pattern of tensor names, as in an index of a model.
    pub pattern: bool,
}

impl Primitive {
    /// The parameter of this name.
    pub fn param(&self, name: &str) -> Option<&'static PrimParam> {
        self.params.iter().find(|p| p.name == name)
    }

    /// The parameters that may be given by place, in their order.
    pub fn positional(&self) -> impl Iterator<Item = &'static PrimParam> {
        self.params.iter().filter(|p| !p.named_only)
    }

    /// `clamp(x, low, high)`, as messages show it; what may be left out stands in `[..]`.
    pub fn signature(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|p| match (p.named_only, p.default) {
                (true, true) => format!("[{}: ..]", p.name),
                (true, false) => format!("{}: ..", p.name),
                (false, true) => format!("[{}]", p.name),
                (false, false) => p.name.to_string(),
            })
            .collect();
        format!("{}({})", self.name, params.join(", "))
    }
}

/// The primitive of this name.
pub fn primitive(name: &str) -> Option<&'static Primitive> {
    static BY_NAME: LazyLock<FxHashMap<&str, &Primitive>> = LazyLock::new(|| PRIMITIVES.iter().map(|p| (p.name, p)).collect());
    BY_NAME.get(name).copied()
}

/// Words that stand for an axis or a set of axes.
pub const AXIS_WORDS: &[&str] = &["all", "rows", "cols"];

const NONE: PrimParam = PrimParam { name: "", default: false, words: &[], named_only: false, pattern: false };

/// Must be given.
const fn p(name: &'static str) -> PrimParam {
    PrimParam { name, ..NONE }
}

/// May be left out.
const fn o(name: &'static str) -> PrimParam {
    PrimParam { name, default: true, ..NONE }
}

/// May be left out, and is given by name.
const fn named(name: &'static str) -> PrimParam {
    PrimParam { name, default: true, named_only: true, ..NONE }
}

/// Must be given by name.
const fn must(name: &'static str) -> PrimParam {
    PrimParam { name, named_only: true, ..NONE }
}

/// May be left out, is given by name and takes words.
const fn words(name: &'static str, words: &'static [&'static str]) -> PrimParam {
    PrimParam { name, default: true, words, named_only: true, pattern: false }
}

const OVER: PrimParam = words("over", AXIS_WORDS);
const TIED: PrimParam = words("tied", &["first", "all"]);
const RULE: PrimParam = words("rule", &["linear", "lower", "higher", "nearest", "midpoint"]);
const PAD: PrimParam = words("pad", &["same", "none"]);
const PATTERN: PrimParam = PrimParam { name: "pattern", pattern: true, ..NONE };
const ANY_PATTERN: PrimParam = PrimParam { name: "pattern", default: true, pattern: true, ..NONE };

const fn there(name: &'static str, params: &'static [PrimParam], doc: &'static str) -> Primitive {
    Primitive { name, params, doc, instead: "" }
}

/// A layer: there in networks, elsewhere `instead`.
const fn layer(name: &'static str, params: &'static [PrimParam], doc: &'static str, instead: &'static str) -> Primitive {
    Primitive { name, params, doc, instead }
}

/// A primitive of one tensor or number, entry by entry.
const fn each(name: &'static str, doc: &'static str) -> Primitive {
    there(name, const { &[p("x")] }, doc)
}

/// All primitives, by topic.
pub const PRIMITIVES: &[Primitive] = &[
    // Where tensors come from.
    there("checkpoint", const { &[p("path")] }, "The model stored under a path."),
    there(
        "deltas",
        const { &[p("path"), named("on")] },
        "Stored differences, of degree 0; with `on: m` exactly for the names and shapes of `m`.",
    ),
    there(
        "tensors",
        const { &[p("path"), named("on")] },
        "Stored tensors of no degree (statistics, masks); with `on: m` exactly for the names and shapes of `m`.",
    ),
    there("tensor", const { &[p("values")] }, "A tensor written out as nested lists of numbers: `tensor([[1, 2], [3, 4]])`."),
    there(
        "adapter",
        const { &[p("path"), must("on"), named("part")] },
        "A stored adapter (LoRA and its kin) as the differences it makes in the model `on`; with `part:` of the keys that start so.",
    ),
    // Static values.
    there("names", const { &[p("model"), ANY_PATTERN] }, "The names of a model's tensors, those that match the pattern."),
    there("dim", const { &[p("x"), p("axis")] }, "The length of an axis, an int."),
    there("numel", const { &[p("x")] }, "The number of entries, an int."),
    there("len", const { &[p("list")] }, "The length of a list."),
    there("div", const { &[p("a"), p("b")] }, "The quotient of two ints, rounded down."),
    there("mod", const { &[p("a"), p("b")] }, "The remainder of two ints, with the sign of `b`."),
    there("zip", const { &[p("a"), p("b"), o("c"), o("d")] }, "Lists of equal length as one list of tuples."),
    there("enumerate", const { &[p("list")] }, "The list of tuples (index, member)."),
    there("pairs", const { &[p("list")] }, "All pairs of different members, each once, in order."),
    there(
        "ramp",
        const { &[p("values"), must("at"), must("of")] },
        "Piecewise linear through `values`, spread evenly over positions 0 to `of - 1`, taken at position `at`.",
    ),
    there(
        "shuffle",
        const { &[p("list"), named("seed")] },
        "The list in an order drawn by a seed, when the recipe is compiled: the seed of a run does not reach it.",
    ),
    there("replace", const { &[p("list"), p("at"), p("value")] }, "The list with one member replaced."),
    there(
        "params",
        const { &[p("model")] },
        "The entries of all tensors of a model, or of the parameters that a tensor of a network depends on: an int.",
    ),
    there(
        "trainable",
        const { &[p("model")] },
        "The entries of the `new` tensors that a model or a tensor of a network depends on, as far as training changes them.",
    ),
    there(
        "bytes",
        const { &[p("model")] },
        "The size of a model on disk, an int: in the dtypes of its checkpoint, new tensors in F32; in a network that of its parameters.",
    ),
    there(
        "flops",
        const { &[p("x")] },
        "The floating-point operations of the pass of a network that gives a tensor; of a model, of a pass at one position: an int.",
    ),
    there(
        "within",
        const { &[p("names"), p("model"), must("params")] },
        "Of a list of names, in order, those whose whole tensors still fit into so many entries.",
    ),
    // Reductions: of a list across its members, of a tensor within it.
    there("sum", const { &[p("x"), OVER] }, "The sum of a list entry by entry, or of a tensor's entries."),
    there(
        "mean",
        const { &[p("x"), named("weight"), OVER] },
        "The mean of a list entry by entry (`weight: ts` weights the members), or of a tensor's entries.",
    ),
    there("var", const { &[p("x"), OVER] }, "The variance, divided by n: of a list entry by entry, or of a tensor's entries."),
    there("min", const { &[p("x"), o("y"), OVER] }, "The smallest: of two, of a list entry by entry, or of a tensor's entries."),
    there("max", const { &[p("x"), o("y"), OVER] }, "The largest: of two, of a list entry by entry, or of a tensor's entries."),
    there("norm", const { &[p("x"), OVER] }, "The Euclidean norm of a tensor's entries."),
    there("dot", const { &[p("x"), p("y"), OVER] }, "The sum of the products of two tensors' entries."),
    there("cosine", const { &[p("x"), p("y"), OVER] }, "The cosine of the angle between two tensors taken as vectors."),
    there("count", const { &[p("x"), OVER] }, "The number of entries that are not 0."),
    there("argmax", const { &[p("x"), OVER] }, "The index of the largest entry, flat or in each row; the first of equal ones."),
    // Entry by entry.
    there("where", const { &[p("mask"), p("x"), p("y")] }, "`x` where the mask is not 0, else `y`."),
    there("lerp", const { &[p("a"), p("b"), p("t")] }, "From `a` (t = 0) to `b` (t = 1) in a straight line."),
    there("clamp", const { &[p("x"), p("low"), p("high")] }, "`x` held between `low` and `high`."),
    there("pow", const { &[p("x"), p("y")] }, "`x` to the power `y`."),
    each("sign", "1, -1, or 0 for 0."),
    each("abs", "The magnitude."),
    each("sqrt", "The square root."),
    each("exp", "e to the power `x`."),
    there("log", const { &[p("x")] }, "The natural logarithm."),
    each("log2", "The logarithm to base 2."),
    each("sin", "The sine of an angle in radians."),
    each("cos", "The cosine of an angle in radians."),
    each("tan", "The tangent of an angle in radians."),
    each("asin", "The angle in radians with this sine."),
    each("acos", "The angle in radians with this cosine."),
    each("atan", "The angle in radians with this tangent."),
    each("tanh", "The hyperbolic tangent."),
    each("sigmoid", "1 / (1 + exp(-x))."),
    each("floor", "The next integer downwards."),
    each("ceil", "The next integer upwards."),
    each("round", "The nearest integer, halves to even."),
    each("trunc", "The integer part."),
    // Selection.
    there(
        "keep_top",
        const { &[p("x"), p("density"), TIED, OVER] },
        "The `floor(density * n)` entries of largest magnitude, else 0; of equal ones the first, or (`tied: all`) every one.",
    ),
    there("kth", const { &[p("x"), p("k"), OVER] }, "The k-th largest entry, counted from 1."),
    there("quantile", const { &[p("x"), p("q"), RULE, OVER] }, "The entry below which a fraction `q` lies."),
    there(
        "rank",
        const { &[p("x"), named("largest_first"), OVER] },
        "The place of each entry in order, from 0; equal ones by index.",
    ),
    there("sort", const { &[p("x"), named("largest_first"), OVER] }, "The entries in rising order."),
    there(
        "sort_index",
        const { &[p("x"), named("largest_first"), OVER] },
        "The indices that put the entries in order; equal ones keep theirs.",
    ),
    there("cumsum", const { &[p("x"), OVER] }, "Running sums."),
    there(
        "indices",
        const { &[p("mask"), must("count")] },
        "The places where a mask is not 0; a run in which they are not `count` stops.",
    ),
    // Shapes.
    there("index", const { &[p("x"), o("axis")] }, "Each entry's coordinate along an axis."),
    there("eye", const { &[p("n")] }, "The identity matrix."),
    there("concat", const { &[p("list"), p("axis")] }, "Tensors joined along an axis."),
    there("reshape", const { &[p("x"), p("dims")] }, "The same entries in row-major order under another shape."),
    there("transpose", const { &[p("x")] }, "The last two axes exchanged."),
    there(
        "take",
        const { &[p("x"), p("at"), p("axis")] },
        "The slices at these places along an axis; places are a tensor with one axis or a list of ints.",
    ),
    there("take_along", const { &[p("x"), p("at")] }, "Entry `at[r]` of each row `r`."),
    there(
        "scatter",
        const { &[p("x"), p("at"), p("axis"), named("len")] },
        "`take` undone: slice `i` of `x` goes to place `at[i]`, of `len` if that is given, and zeros to the other places.",
    ),
    there("diag", const { &[p("x")] }, "The matrix with this diagonal; of a matrix, its diagonal."),
    there("unfold", const { &[p("x"), p("axis")] }, "A matrix whose rows are the slices along an axis."),
    there("flatten", const { &[p("x")] }, "All entries along one axis."),
    there("iota", const { &[p("n")] }, "The numbers 0 to n - 1."),
    // Linear algebra.
    there(
        "svd",
        const { &[p("x"), named("rank"), named("full")] },
        "The tuple (u, s, v) with `x = (u * s) @ transpose(v)`: thin, of a rank, or with square `u` and `v` (`full: true`).",
    ),
    there("qr", const { &[p("x")] }, "The tuple (q, r) with `x = q @ r`: orthonormal columns and an upper triangle."),
    there(
        "eigh",
        const { &[p("x")] },
        "The tuple (values, vectors) of a symmetric matrix: eigenvalues rising, eigenvectors in columns.",
    ),
    there("solve", const { &[p("a"), p("b")] }, "The `x` with `a @ x = b`; a run in which `a` is singular stops."),
    there("polar", const { &[p("x")] }, "The nearest matrix with orthonormal columns, or rows where there are fewer."),
    there("low_rank", const { &[p("x"), must("rank")] }, "The nearest matrix of a rank, by its singular values."),
    there(
        "assignment",
        const { &[p("cost"), named("maximize")] },
        "The column for each row, all different, with the least sum of costs, or the greatest.",
    ),
    there("kmeans", const { &[p("x"), p("k"), named("seed")] }, "The tuple (cluster of each row, centres) of `k` clusters."),
    there("factors", const { &[p("x")] }, "The factors (b, a) of a delta that is their product `b @ a`."),
    // Random numbers, keyed by seed, loop turns, tensor name and element.
    there("bernoulli", const { &[p("x"), must("p"), named("seed")] }, "1 with probability `p`, else 0, in the shape of `x`."),
    there(
        "uniform",
        const { &[o("x"), o("low"), o("high"), named("seed")] },
        "Uniform numbers from `low` (0) up to `high` (1), in the shape of `x`, or behind `new` of the tensor that starts.",
    ),
    there(
        "normal",
        const { &[o("x"), o("mean"), o("std"), named("seed")] },
        "Normal numbers of mean 0 and deviation 1, in the shape of `x`, or behind `new` of the tensor that starts.",
    ),
    there("permutation", const { &[p("n"), named("seed")] }, "The numbers 0 to n - 1 in random order."),
    // Models.
    there(
        "restack",
        const { &[p("prefix"), p("layers"), must("rest")] },
        "Layers of several models in a new order: `layers` lists (model, layer); other tensors come from `rest`.",
    ),
    there("without", const { &[p("model"), PATTERN] }, "The model without the tensors whose names match."),
    there("fill", const { &[p("model"), p("tensors")] }, "The model with the tensors of a file in the places of its `new` ones."),
    there("unpack", const { &[p("mask"), p("values")] }, "Packed values where the mask holds."),
    // Domains of `choose`.
    there("order", const { &[p("list")] }, "Every order of a list, behind the `in` of `choose`."),
    there(
        "subset",
        const { &[p("list"), named("size")] },
        "Every part of a list (`size: 2` or `size: 1..=3`: of so many members), behind the `in` of `choose`.",
    ),
    there("simplex", const { &[p("n")] }, "n numbers from 0 that add up to 1, behind the `in` of `choose`."),
    // Start values of `new`.
    there(
        "kaiming",
        const { &[named("fan"), named("seed")] },
        "Normal numbers of variance 2 / fan in (He et al. 2015), behind `new`.",
    ),
    there(
        "xavier",
        const { &[named("seed")] },
        "Uniform numbers of variance 2 / (fan in + fan out) (Glorot and Bengio 2010), behind `new`.",
    ),
    there("orthogonal", const { &[named("seed")] }, "A start value with orthonormal rows or columns, behind `new`."),
    there(
        "dirac",
        const { &[named("groups")] },
        "A start value that passes its input through (`groups: n`: in each group of a grouped convolution), behind `new`.",
    ),
    there("constant", const { &[p("value")] }, "A start value of one number, behind `new`."),
    there("zeros", const { &[] }, "Start values of 0, behind `new`."),
    there("ones", const { &[] }, "Start values of 1, behind `new`."),
    // Layers of networks that are no arithmetic; the others are functions of `std.networks`.
    layer(
        "conv1d",
        const { &[p("x"), p("kernel"), named("stride"), PAD, named("groups")] },
        "A convolution along the axis before the last, by a kernel or one of a width.",
        "",
    ),
    layer(
        "conv2d",
        const { &[p("x"), p("kernel"), named("stride"), PAD, named("groups")] },
        "A convolution along the last two axes.",
        "",
    ),
    layer("embedding", const { &[p("x"), p("table")] }, "Rows of a table by their places.", ""),
    layer("batch_norm", const { &[p("x")] }, "Channels of mean 0 and deviation 1, then scaled and shifted.", ""),
    layer("max_pool", const { &[p("x"), p("size"), named("stride")] }, "The largest of each window.", ""),
    layer("avg_pool", const { &[p("x"), p("size"), named("stride")] }, "The mean of each window.", ""),
    layer(
        "dropout",
        const { &[p("x"), p("keep")] },
        "Entries dropped at random in training.",
        "`x * bernoulli(x, p: keep) / keep`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_optional_places_come_last() {
        for (i, p) in PRIMITIVES.iter().enumerate() {
            assert!(PRIMITIVES[i + 1..].iter().all(|q| q.name != p.name), "{} stands twice", p.name);
            let optional: Vec<bool> = p.positional().map(|p| p.default).collect();
            assert!(optional.is_sorted(), "{}: what may be left out comes last", p.name);
        }
    }

    #[test]
    fn signatures_read_like_calls() {
        assert_eq!(
            primitive("keep_top").map(Primitive::signature).as_deref(),
            Some("keep_top(x, density, [tied: ..], [over: ..])")
        );
        assert!(primitive("fill").is_some_and(|p| p.params.len() == 2));
    }
}
