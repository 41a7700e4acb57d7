//! What looking at a whole space costs: the second table of `cargo xtask bench --search elaboration`.
//!
//! Each recipe is taken through what `mergec check` does beside planning, and through what `mergec space` does.

mod clock;

use clock::cpu;
use merge_driver::{Request, space::Checks};

fn main() {
    merge_driver::on_large_stack(measure);
}

fn measure() {
    println!("Looking at whole spaces, milliseconds of CPU");
    println!("| space | candidates | check: elaborations | check | space: elaborations | space |");
    println!("|---|---|---|---|---|---|");
    for file in std::env::args().skip(1) {
        let request = Request { file: file.clone().into(), ..Request::default() };
        let looked = |checks: Checks| {
            let begun = cpu();
            let mut open = match merge_driver::space::open(&request, checks) {
                Ok(Ok(open)) => open,
                Ok(Err(analysis)) => panic!("{file}: {:?}", analysis.diagnostics),
                Err(e) => panic!("{file}: {}", e.message),
            };
            if checks == Checks::Left {
                open.price();
            }
            (cpu() - begun, open.passes, open.count_text())
        };
        let ((check, elaborations, count), (space, less, _)) = (looked(Checks::Tried), looked(Checks::Left));
        let count = if count.len() > 12 { format!("{}.{}e{}", &count[..1], &count[1..3], count.len() - 1) } else { count };
        let name = file.rsplit('/').next().unwrap_or(&file);
        println!("| {name} | {count} | {elaborations} | {check:.0} | {less} | {space:.0} |");
    }
}
