//! What elaborating one candidate of a large space costs: what `cargo xtask bench --search elaboration` runs.
//!
//! A recipe is parsed and its space found once; then candidates are drawn and elaborated one after the other, as a search does.

use merge_driver::{Request, space::Checks};
use std::time::Instant;

const CANDIDATES: u32 = 400;

fn main() {
    println!("Elaboration of {CANDIDATES} candidates that were drawn by decision, milliseconds each");
    println!("| space | candidates | reading and finding the space | median | longest | its parameters |");
    println!("|---|---|---|---|---|---|");
    for file in std::env::args().skip(1) {
        let request = Request { file: file.clone().into(), ..Request::default() };
        let begun = Instant::now();
        let mut open = match merge_driver::space::open(&request, Checks::Left) {
            Ok(Ok(open)) => open,
            Ok(Err(analysis)) => panic!("{file}: {:?}", analysis.diagnostics),
            Err(e) => panic!("{file}: {}", e.message),
        };
        let opened = begun.elapsed().as_secs_f64() * 1e3;
        let mut times: Vec<(f64, u64)> = open
            .sample(CANDIDATES, 1, false)
            .iter()
            .map(|candidate| {
                let begun = Instant::now();
                let parameters = open.elaborate(candidate).unwrap_or_else(|why| panic!("{file}: {why}"));
                (begun.elapsed().as_secs_f64() * 1e3, parameters.unwrap_or_default())
            })
            .collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (longest, parameters) = times[times.len() - 1];
        let (name, median) = (file.rsplit('/').next().unwrap_or(&file), times[times.len() / 2].0);
        println!("| {name} | {} | {opened:.0} | {median:.2} | {longest:.2} | {parameters} |", open.size_text());
    }
}
