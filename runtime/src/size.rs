//! Sizes in bytes as people write them.

/// Reads `512MiB`, `1GB`, `4k` or `1000000`: decimal units of 1000, binary ones (`Ki`, `Mi`, `Gi`, `Ti`)
/// of 1024, in any case, with or without `B`. None if it is no size.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim();
    let scale: u64 = match unit.strip_suffix('b').unwrap_or(unit) {
        "" => 1,
        "k" => 1000,
        "m" => 1000_u64.pow(2),
        "g" => 1000_u64.pow(3),
        "t" => 1000_u64.pow(4),
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => return None,
    };
    let bytes = number * scale as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("5GB"), Some(5_000_000_000));
        assert_eq!(parse_size("512MiB"), Some(512 << 20));
        assert_eq!(parse_size("1.5g"), Some(1_500_000_000));
        assert_eq!(parse_size(" 4 k "), Some(4000));
        assert_eq!(parse_size("77"), Some(77));
        for wrong in ["", "GB", "-1GB", "1XB", "1e5", "..", "99999999999999TB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
