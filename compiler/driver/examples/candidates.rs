//! What elaborating one candidate of a large space costs: what `cargo xtask bench --search elaboration` runs.
//!
//! A recipe is parsed and its space found once; then candidates are drawn and elaborated one after the other, as a search does.

mod clock;

use clock::cpu;
use merge_driver::{Request, space::Checks};

const CANDIDATES: u32 = 400;

/// Milliseconds that one should take at most.
const TARGET: f64 = 1.0;

fn main() {
    // As the command line does: see `on_large_stack`.
    merge_driver::on_large_stack(measure);
}

fn measure() {
    println!(
        "Elaboration of {CANDIDATES} candidates that were drawn by decision, milliseconds of CPU each; it should take 1 at most"
    );
    println!(
        "| space | candidates | reading and finding the space | median | 99 of 100 | longest | its decisions and parameters |"
    );
    println!("|---|---|---|---|---|---|---|");
    for file in std::env::args().skip(1) {
        let request = Request { file: file.clone().into(), ..Request::default() };
        let begun = cpu();
        let mut open = match merge_driver::space::open(&request, Checks::Left) {
            Ok(Ok(open)) => open,
            Ok(Err(analysis)) => panic!("{file}: {:?}", analysis.diagnostics),
            Err(e) => panic!("{file}: {}", e.message),
        };
        let opened = cpu() - begun;
        let mut times: Vec<(f64, usize, u64)> = open
            .sample(CANDIDATES, 1, false)
            .iter()
            .map(|candidate| {
                let begun = cpu();
                let parameters = open.elaborate(candidate).unwrap_or_else(|why| panic!("{file}: {why}")).parameters;
                (cpu() - begun, candidate.entries().len(), parameters.unwrap_or_default())
            })
            .collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (longest, decisions, parameters) = times[times.len() - 1];
        let (name, at) = (file.rsplit('/').next().unwrap_or(&file), |share: usize| times[times.len() * share / 100].0);
        let (median, most, count) = (at(50), at(99), open.count_text());
        let count = if count.len() > 12 { format!("{}.{}e{}", &count[..1], &count[1..3], count.len() - 1) } else { count };
        let met = if longest <= TARGET { "all in time" } else { "not all in time" };
        println!(
            "| {name} | {count} | {opened:.0} | {median:.2} | {most:.2} | {longest:.2}: {met} | {decisions}, {parameters} |"
        );
    }
}
