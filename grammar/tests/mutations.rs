//! No text, however broken, makes the parser panic or hang.

use merge_base::FileId;
use merge_grammar::{parse, parse_expr, print};
use std::path::Path;
use std::time::{Duration, Instant};

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

const SCRAPS: &[&str] = &[
    "(", ")", "[", "]", "{", "}", "\"", "=>", "=", "let", "fn", "choose", "save", "for", "in", "if", "else", "fold", "as", "to",
    "-", " -", "..", ",", ":", "?", "_", "\n", " ", "§", "é", "//", "///", "#", ";", "\\", "0", "9e", "1.5", "5GB", "like",
    "from", "new", "whole", "not", "test", "use", ".",
];

#[test]
fn mutated_programs_never_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the programs are there").map(|e| e.expect("readable").path()).collect();
    paths.sort();
    let programs: Vec<String> = paths.iter().map(|p| std::fs::read_to_string(p).expect("readable")).collect();
    let started = Instant::now();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut rounds = 0;
    while rounds < 3000 && started.elapsed() < Duration::from_secs(4) {
        let program = &programs[rounds % programs.len()];
        let mut text: Vec<char> = program.chars().collect();
        for _ in 0..1 + random.below(6) {
            let at = random.below(text.len());
            let end = (at + 1 + random.below(12)).min(text.len());
            match random.below(5) {
                0 => drop(text.drain(at..end)),
                1 => {
                    let copy: Vec<char> = text[at..end].to_vec();
                    let to = random.below(text.len());
                    text.splice(to..to, copy);
                }
                2 => drop(text.splice(at..(at + 1).min(text.len()), SCRAPS[random.below(SCRAPS.len())].chars())),
                3 => drop(text.splice(at..at, SCRAPS[random.below(SCRAPS.len())].chars())),
                _ => text.truncate(at.max(1)),
            }
            if text.is_empty() {
                text.push(' ');
            }
        }
        let text: String = text.into_iter().collect();
        let one = Instant::now();
        let (tree, diagnostics) = parse(FileId(0), &text);
        for d in &diagnostics {
            for label in &d.labels {
                assert!(label.span.start <= label.span.end && label.span.end as usize <= text.len(), "{d:?}\n{text}");
                assert!(text.is_char_boundary(label.span.start as usize) && text.is_char_boundary(label.span.end as usize));
            }
        }
        let printed = print(&tree);
        if diagnostics.is_empty() {
            let (_, again) = parse(FileId(0), &printed);
            assert!(again.is_empty(), "{again:#?}\n{text}\n{printed}");
        }
        let _ = parse_expr(FileId(0), &text, 3);
        assert!(one.elapsed() < Duration::from_secs(2), "slow:\n{text}");
        rounds += 1;
    }
    println!("{rounds} rounds in {:?}", started.elapsed());
}
