//! Every method of the standard library elaborates over small headers without a word, lifted and as a whole.

mod support;

use support::small;

const HEAD: &str = "use std.merging.{linear, slerp, nuslerp, task_arithmetic, ties, ties_paper, dare, dare_ties, breadcrumbs,
    model_stock, fisher}
let _all = [linear([base, base], [0.5, 0.5]), slerp(base, base, 0.5), nuslerp(base, base, 1.0, 1.0), task_arithmetic(base, [base]),
    ties(base, [base]), ties_paper(base, [base]), dare(base, [base]), dare_ties(base, [base], [1.0]), breadcrumbs(base, [base]),
    model_stock(base, [base, base]), fisher([base], [stats], [1.0])]
";

fn fine(value: &str) {
    let value = value.replace("BOTH", "[math, code]");
    small(&format!("{HEAD}save like base {{ \"**.position_ids\" => base\n _ => {value} }} to \"x\"")).clean();
}

#[test]
fn methods_give_weights_of_weights() {
    for value in [
        "linear(BOTH, [0.7, 0.6])",
        "linear(BOTH, [0.7, 0.3], normalize: false)",
        "slerp(math, code, t: 0.5)",
        "nuslerp(math, code, 0.6, 0.2)",
        "nuslerp(math, code, 0.6, 0.2, over: rows)",
        "base + nuslerp(math - base, code - base, 0.6, 0.2)",
        "task_arithmetic(base, BOTH)",
        "ties(base, BOTH)",
        "ties(base, BOTH, density: 0.5, lambda: 1.5)",
        "ties_paper(base, BOTH)",
        "dare(base, BOTH, density: 0.3)",
        "dare_ties(base, BOTH, [0.5, 0.5], density: 0.3, seed: 7)",
        "breadcrumbs(base, BOTH)",
        "model_stock(base, BOTH)",
        "model_stock(base, BOTH, over: rows)",
        "fisher(BOTH, [stats, stats], [0.7, 0.3])",
    ] {
        fine(value);
    }
}

#[test]
fn methods_measure_a_model_as_a_whole() {
    for value in ["ties(base, BOTH)", "ties_paper(base, BOTH)", "slerp(math, code, t: 0.5)", "model_stock(base, BOTH)"] {
        let value = value.replace("BOTH", "[m, c]").replace("math", "m").replace("code", "c").replace("base", "b");
        let lets = ["b = base", "m = math", "c = code"].map(|l| {
            let (name, model) = l.split_once(" = ").unwrap();
            format!("let {name} = without({model}, \"**.position_ids\")\n")
        });
        small(&format!("{HEAD}{}let _used = [b, m, c]\nsave whole {value} to \"x\"", lets.concat())).clean();
    }
}
