use super::{ModuleMissing, Modules, resolve};
use crate::hir::{ExprKind, Item, Program};
use merge_base::{Diagnostic, FileId};
use merge_grammar::ast;
use std::rc::Rc;

/// A library of one file beside the recipe.
struct Library;

const METHODS: &str = "
fn slerp(a: affine[..s], b: affine[..s], t: f32) -> affine[..s] { _half(a) + t * b }
fn _half(a: affine[..s]) -> affine[..s] { 0.5 * a }
let secret = 1
";

impl Modules for Library {
    fn module(&mut self, path: &[String]) -> Result<(FileId, Rc<ast::File>), ModuleMissing> {
        if path == ["std", "merging"] {
            return Ok((FileId(1), Rc::new(merge_grammar::parse(FileId(1), METHODS).0)));
        }
        Err(ModuleMissing { known: vec!["std.merging".to_string()] })
    }
}

fn resolved(text: &str) -> (Program, Vec<Diagnostic>) {
    let (file, found) = merge_grammar::parse(FileId(0), text);
    assert!(found.is_empty(), "{text}: {found:?}");
    resolve(FileId(0), &file, &mut Library)
}

/// Code and primary text of every finding.
fn found(text: &str) -> Vec<(String, String)> {
    let of = |d: Diagnostic| {
        let span = d.primary_span().unwrap();
        (d.code.to_string(), text[span.start as usize..span.end as usize].to_string())
    };
    resolved(text).1.into_iter().map(of).collect()
}

/// Checks that a recipe over `base` and `math` gives this one finding.
fn gives(text: &str, code: &str, place: &str) -> Diagnostic {
    let text = format!("{HEAD}{text}");
    assert_eq!(found(&text), [(code.to_string(), place.to_string())], "{text}");
    resolved(&text).1.remove(0)
}

fn fine(text: &str) -> Program {
    let (program, found) = resolved(&format!("{HEAD}{text}"));
    assert!(found.is_empty(), "{text}: {found:?}");
    program
}

const HEAD: &str = "let base = checkpoint(\"base\") let math = checkpoint(\"math\") save base - math to \"d\"\n";

#[test]
fn names_are_found_and_misspelt_ones_suggested() {
    fine("let x = base + (math - base)\nsave x to \"x\"");
    let d = gives("save bsae to \"x\"", "E1001", "bsae");
    assert_eq!(d.fixes[0].replacement, "base");
    let d = gives("save mena([base, math]) to \"x\"", "E1001", "mena");
    assert_eq!(d.fixes[0].replacement, "mean");
}

#[test]
fn a_library_function_that_was_not_taken_is_offered() {
    let d = gives("save slerp(base, math, 0.5) to \"x\"", "E1001", "slerp");
    assert_eq!(d.helps, ["add `use std.merging.slerp`"]);
    assert_eq!(d.fixes[0].replacement, "use std.merging.slerp\n\n");
    fine("use std.merging.slerp\nsave slerp(base, math, t: 0.5) to \"x\"");
    fine("use std.merging.{slerp}\nsave slerp(base, math, 0.5) to \"x\"");
}

#[test]
fn modules_have_functions_and_keep_the_private_ones() {
    assert_eq!(gives("use std.mergin.slerp\n", "E1101", "std.mergin").fixes[0].replacement, "std.merging");
    assert_eq!(gives("use std.merging.slrep\n", "E1102", "slrep").fixes[0].replacement, "slerp");
    gives("use std.merging._half\n", "E1103", "_half");
    assert!(gives("use std.merging.secret\n", "E1102", "secret").notes[0].contains("variable"));
    gives("use slerp\n", "E1101", "use slerp");
}

#[test]
fn scopes_hold_one_of_each_name() {
    gives("let x = 1\nlet x = 2\nsave x * base to \"x\"", "E1002", "x");
    gives("fn f(a: int) -> int { a }\nfn f(a: int) -> int { a }", "E1002", "f");
    gives("save like base { \"{l}.{l}\" => base } to \"x\"", "E1002", "l");
    fine("let x = 1\nlet y = { let x = 2 x }\nsave x * y * base to \"x\"");
    fine("fn f(a: int) -> int { a }\nlet f = f(1)\nsave f * base to \"x\"");
}

#[test]
fn a_let_sees_what_stands_above() {
    let d = gives("let x = y\nlet y = 2\nsave x * y * base to \"x\"", "E1003", "y");
    assert_eq!(d.labels.len(), 2);
    gives("let x = x + 1\nsave x * base to \"x\"", "E1003", "x");
    gives("let z = { let a = b let b = 1 a + b }\nsave z * base to \"x\"", "E1003", "b");
    fine("save later(base) to \"x\"\nfn later(a: weight[..s]) -> weight[..s] { a }");
}

#[test]
fn functions_see_their_file_and_not_the_recipe() {
    gives("fn f(a: int) -> weight { a * base }", "E1004", "base");
    gives("fn f(a: tensor[o, i]) -> tensor[o, j] { reshape(a, [o, i, k]) }", "E1001", "k");
    fine("fn f(a: tensor[n * k, ..s], b: tensor[k], n: int) -> tensor[..s] { a * n + dim(b, 0) + k }");
}

#[test]
fn recursion_is_named() {
    let d = gives("fn f(a: int) -> int { g(a) }\nfn g(a: int) -> int { f(a) }", "E1005", "f");
    assert!(d.message.contains("f -> g -> f"), "{}", d.message);
    gives("fn f(a: int) -> int { f(a) }", "E1005", "f");
}

#[test]
fn types_and_roles_are_known() {
    assert_eq!(gives("fn f(a: weigth[o]) -> weight[o] { a }", "E1006", "weigth").fixes[0].replacement, "weight");
    gives("fn f(a: f32[3]) -> f32 { a }", "E1006", "f32[3]");
    gives("save (base as wieght) to \"x\"", "E1008", "wieght");
    let d = gives("save base as peft to \"x\"", "E1008", "peft");
    assert!(d.helps[0].contains("as peft"), "{:?}", d.helps);
    gives("save whole base to \"x\"", "E1009", "base");
    gives("save mean to \"x\"", "E1007", "mean");
    gives("save base(1) to \"x\"", "E1007", "base");
}

#[test]
fn words_stand_only_where_they_are_taken() {
    fine("save base * norm(base, over: rows) to \"x\" { dtype: bf16, config: { kind: small } }");
    fine("fn f(x: weight[..s], over: axis = all) -> tensor { norm(x, over: over) }\nsave f(base, over: cols) to \"x\"");
    assert_eq!(gives("save norm(base, over: row) to \"x\"", "E1206", "row").fixes[0].replacement, "rows");
    gives("let x = rows\nsave x * base to \"x\"", "E1001", "rows");
}

#[test]
fn arguments_fit_their_function() {
    assert_eq!(gives("save lerp(base, math, speed: 1) to \"x\"", "E1201", "speed").helps, ["it is called as `lerp(a, b, t)`"]);
    gives("save lerp(base, math, 0.5, t: 0.5) to \"x\"", "E1202", "0.5");
    gives("save lerp(base, math, 0.5, 0.5) to \"x\"", "E1203", "0.5");
    gives("save lerp(base, math) to \"x\"", "E1204", "lerp");
    gives("save lerp(a: base, math, 0.5) to \"x\"", "E1205", "math");
    gives("save norm(base, rows) to \"x\"", "E1205", "rows");
    gives("fn f(a: int, b: int = 1) -> int { a + b }\nsave f(b: 2) * base to \"x\"", "E1204", "f");
}

#[test]
fn rules_bind_captures_and_dims() {
    fine(
        "save like base { let k = 2 let xs = names(math) \"a.{l}.{p: q|v}.{n in xs}\"[o, i] => \
          base * l * k / (o * i) + base[\"{p}.{l + 8}.{n}\"] _ => base } to \"x\"",
    );
    gives("save like base { _ => base \"a.**\" => math } to \"x\"", "E1301", "_");
    gives("save like base { \"a.{l + 1}\" => base _ => base } to \"x\"", "E1010", "{l + 1}");
    gives("save like base { \"a.{l in xs}\" => base _ => base } to \"x\"", "E1001", "xs");
    gives("save like base { \"a.{l}\" => base * m _ => base } to \"x\"", "E1001", "m");
}

#[test]
fn strings_are_split_and_patterns_told_apart() {
    gives("save base[\"a.{k}\"] to \"x\"", "E1001", "k");
    gives("save base[\"a.{k}.**\"] to \"x\"", "E1001", "k");
    gives("save base to \"x{\"", "E1011", "{");
    gives("save base to \"x{1 +}\"", "E0002", "+");
}

#[test]
fn a_pattern_in_an_index_is_a_sub_model() {
    let program = fine("save base[\"a.*\"] to \"x\"\nsave without(base, \"b\") to \"y\"");
    let Item::Save(s) = &program.items[3] else { panic!() };
    assert!(matches!(&s.value.kind, ExprKind::Index { indices, .. } if matches!(indices[0].kind, ExprKind::SubModel(_))));
    let Item::Save(s) = &program.items[4] else { panic!() };
    assert!(matches!(&s.value.kind, ExprKind::Call { args, .. } if matches!(args[1].value.kind, ExprKind::SubModel(_))));
    gives("save { \"a.*\": base } to \"x\"", "E1012", "\"a.*\"");
}

#[test]
fn what_nothing_uses_is_a_warning() {
    let d = gives("let x = 1", "W1020", "x");
    assert!(!d.is_error() && d.helps.is_empty() && d.fixes.len() == 1, "one remedy: {d:?}");
    fine("let _x = 1");
    fine("save { let (a, _) = (base, 1) a } to \"x\"");
    gives("save { let (a, b) = (base, 1) a } to \"x\"", "W1020", "b");
}

#[test]
fn tests_see_the_top_level() {
    let program = fine("test \"same\" { let d = base - math  norm(d) >= 0 }");
    assert!(matches!(&program.items[3], Item::Test(t) if t.locals.len() == 1));
}

#[test]
fn what_is_to_be_trained_and_decided_resolves() {
    fine("save fill(base, base) to \"x\"");
    fine("search base { evaluate: command(\"./x {model}\"), maximize: [acc, \"speed\"], using: mcts(seed: 1), trials: 5 }");
    fine("save { new a[3] = kaiming() a } to \"x\"");
    fine("save from base { \"m\" as f(x: tensor[..t, d]) => f(2 * x) _ => base } to \"x\"");
    fine("save from base { _ => base \"m\" as f(x) -> tensor[4] => f(x) } to \"x\"");
    gives("save from base { \"m\" as f(x) => f _ => base } to \"x\"", "E1007", "f");
    gives("save from base { \"m\" as f(x) => f(x, x) _ => base } to \"x\"", "E1203", "x");
    fine("choose t in 0.0..=1.0\nsave t * base to \"x\"");
    fine("save choose m per 1 { a => base, b => math } = a to \"x\"");
    fine("choose o in order([1, 2])\nchoose s in subset([1, 2], size: 1)\nsave { \"{o[0]}.{s[0]}\": base[\"a\"] } to \"x\"");
    fine(
        "choose t in log(1e-3, 1e-1) = 1e-2\nchoose which in [\"a\", \"b\"] = \"a\"\n\
          save (if which == \"a\" { t * base } else { base }) to \"x\"",
    );
}

#[test]
fn hir_prints() {
    let text = "let base = checkpoint(\"b\")\nfn f(a: weight[..s, n], k: f32 in 0..=1 = 0.5) -> weight[..s, n] { a * k / n }\n\
        save like base { \"a.{l}\"[o, i] => f(base[\"b.{l + 1}\"]) _ => base } to \"x\" { dtype: bf16 }";
    let (program, found) = resolved(text);
    assert!(found.is_empty(), "{found:?}");
    let expected = "\
fn f(a%0: weight[..s%2!, n%3!], k%1: f32 in 0..=1 = 0.5) -> weight[..s%2, n%3] {
    ((a%0 * k%1) / n%3)
}

let base%0 = checkpoint(\"b\")
save like @base%0 {
    \"a.{l}\" |l%1|[o%2, i%3] => f#0(@base%0[\"b.{(l%1 + 1)}\"])
    _ => @base%0
} to \"x\" { dtype: 'bf16 }
";
    assert_eq!(crate::hir::print_hir(&program), expected);
}
