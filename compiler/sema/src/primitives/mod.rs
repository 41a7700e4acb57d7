//! The functions of the language itself.
//!
//! `table` lists them with their parameters; the other files compute them, by kind. `elaborate` binds the
//! arguments, applies name by name what is given models, treats what opens and rearranges models, and
//! calls [`call_primitive`] for everything else.
//!
//! Invariants: a primitive that fails gives [`Value::Poison`] after exactly one diagnostic, or after none
//! where an argument is poison already; shapes and degrees of what it makes are those of the design's
//! tables; nothing here looks at a tensor's entries.
//!
//! Not here: operators, slices, `whole`, models.

mod clusters;
mod elementwise;
mod gather;
mod layers;
mod linear;
mod lists;
mod order;
mod random;
mod reduce;
#[cfg(test)]
mod routine_tests;
mod select;
mod shape;
mod starts;
mod support;
pub mod table;
#[cfg(test)]
mod tests;

pub use elementwise::select;
pub use layers::KEEPS_SHAPE;
pub use linear::matmul;
pub use starts::STARTS;
pub use support::{constant, describe};
pub use table::{AXIS_WORDS, PRIMITIVES, PrimParam, Primitive, primitive};

use crate::elaborate::Cx;
use crate::value::{Args, Value};
use merge_abi::{BinaryFn, UnaryFn};
use merge_base::Span;

/// The value of a primitive for arguments without models. `span` is the call's.
pub fn call_primitive(cx: &mut Cx, name: &'static str, args: Args, span: Span) -> Value {
    let args = &args;
    let result = match name {
        "tensor" => shape::literal(cx, args, span),
        "dim" => shape::dim(cx, args, span),
        "numel" => shape::numel(cx, args, span),
        "len" => lists::len(cx, args, span),
        "div" | "mod" => lists::div_mod(cx, args, span),
        "zip" => lists::zip(cx, args, span),
        "enumerate" => lists::enumerate(cx, args, span),
        "pairs" => lists::pairs(cx, args, span),
        "ramp" => lists::ramp(cx, args, span),
        "shuffle" => lists::shuffle(cx, args, span),
        "replace" => lists::replace(cx, args, span),
        "sum" => reduce::sum(cx, args, span),
        "mean" => reduce::mean(cx, args, span),
        "var" => reduce::var(cx, args, span),
        "min" => reduce::min_max(cx, BinaryFn::Min, args, span),
        "max" => reduce::min_max(cx, BinaryFn::Max, args, span),
        "norm" => reduce::norm(cx, args, span),
        "dot" => reduce::dot(cx, args, span),
        "cosine" => reduce::cosine(cx, args, span),
        "count" => reduce::count(cx, args, span),
        "where" => elementwise::where_(cx, args, span),
        "lerp" => elementwise::lerp(cx, args, span),
        "clamp" => elementwise::clamp(cx, args, span),
        "pow" => elementwise::pow(cx, args, span),
        "keep_top" => select::keep_top(cx, args, span),
        "kth" => select::kth(cx, args, span),
        "quantile" => select::quantile(cx, args, span),
        "rank" => select::rank(cx, args, span),
        "sort" => order::sort(cx, args, span),
        "sort_index" => order::sort_index(cx, args, span),
        "cumsum" => order::cumsum(cx, args, span),
        "argmax" => order::argmax(cx, args, span),
        "take" => gather::take(cx, args, span),
        "take_along" => gather::take_along(cx, args, span),
        "scatter" => gather::scatter(cx, args, span),
        "indices" => gather::indices(cx, args, span),
        "unpack" => gather::unpack(cx, args, span),
        "svd" => linear::svd(cx, args, span),
        "low_rank" => linear::low_rank(cx, args, span),
        "factors" => crate::elaborate::factors(cx, args, span),
        "qr" => linear::qr(cx, args, span),
        "eigh" => linear::eigh(cx, args, span),
        "polar" => linear::polar(cx, args, span),
        "solve" => linear::solve(cx, args, span),
        "assignment" => clusters::assignment(cx, args, span),
        "kmeans" => clusters::kmeans(cx, args, span),
        "permutation" => clusters::permutation(cx, args, span),
        "index" => shape::index(cx, args, span),
        "eye" => shape::eye(cx, args, span),
        "concat" => shape::concat(cx, args, span),
        "reshape" => shape::reshape(cx, args, span),
        "unfold" => shape::unfold(cx, args, span),
        "flatten" => shape::flatten(cx, args, span),
        "diag" => shape::diag(cx, args, span),
        "iota" => shape::iota(cx, args, span),
        "transpose" => shape::transpose(cx, args, span),
        "bernoulli" => random::bernoulli(cx, args, span),
        "uniform" => random::uniform(cx, args, span),
        "normal" => random::normal(cx, args, span),
        name if layers::LAYERS.contains(&name) => layers::layer(cx, args, span),
        name if starts::STARTS.contains(&name) => starts::start(cx, args, span),
        "order" | "subset" | "simplex" => {
            let message = format!("`{name}` is a domain: it stands behind the `in` of a `choose`");
            Err(cx.error(crate::codes::types::WRONG_KIND, message, span, ""))
        }
        name => match UnaryFn::ALL.into_iter().find(|f| f.name() == name && !matches!(f, UnaryFn::Neg | UnaryFn::Not)) {
            Some(f) => elementwise::unary(cx, f, args, span),
            None => {
                let known = primitive(name);
                let help = known.map_or("", |p| p.instead);
                let help = if help.is_empty() { String::new() } else { format!("instead: {help}") };
                Err(support::not_there(cx, format!("`{name}` is not there yet"), span, &help))
            }
        },
    };
    result.into()
}
