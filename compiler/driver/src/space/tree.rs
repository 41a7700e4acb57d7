//! The tree of what was found.

use super::convert;
use super::passes::values_of;
use super::tasks::{Found, Item, label};
use merge_search::{Domain as Searched, Space, SpaceBuilder, SpaceError, Then, TreeId, Value};
use merge_sema::space::Decision;

/// The space; none where conditions exclude every candidate.
pub(super) fn assemble(found: &Found) -> Option<Result<Space, SpaceError>> {
    let mut builder = SpaceBuilder::new();
    let root = branch(found, 0, &mut builder)?;
    Some(builder.finish(root))
}

fn branch(found: &Found, task: usize, builder: &mut SpaceBuilder) -> Option<TreeId> {
    let mut trees = Vec::new();
    for item in found.items(task)? {
        trees.push(match item {
            Item::Free(d) => builder.decide(d.id.clone(), convert::domain(&d.domain), d.default.as_ref().map(convert::value)),
            Item::Branch(d, tasks) => {
                let branches: Vec<Option<TreeId>> = tasks.iter().map(|t| branch(found, *t, builder)).collect();
                decide(d, branches, builder)?
            }
        });
    }
    Some(builder.all(trees))
}

/// A decision with what follows from each value; values that nothing can follow are left out.
fn decide(d: &Decision, branches: Vec<Option<TreeId>>, builder: &mut SpaceBuilder) -> Option<TreeId> {
    let (domain, default, branches) = if branches.iter().all(Option::is_some) {
        (convert::domain(&d.domain), d.default.as_ref().map(convert::value), branches.into_iter().flatten().collect::<Vec<_>>())
    } else {
        let kept: Vec<_> = values_of(&d.domain).into_iter().zip(branches).filter_map(|(v, b)| Some((v, b?))).collect();
        let labels = kept.iter().map(|(v, _)| label(&d.domain, v)).collect();
        let place = d.default.as_ref().and_then(|default| kept.iter().position(|(v, _)| v == default));
        let domain = Searched::Members { labels, ordered: convert::domain(&d.domain).is_ordered() };
        (domain, place.map(|p| Value::Member(p as u64)), kept.into_iter().map(|(_, b)| b).collect())
    };
    let first = *branches.first()?;
    let then = if branches.iter().all(|b| *b == first) { Then::Same(first) } else { Then::Each(branches) };
    Some(builder.decide_then(d.id.clone(), domain, default, then))
}
