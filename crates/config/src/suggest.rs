//! "Did you mean".

/// `; did you mean ...?`, or nothing when no one of `known` is near.
pub(super) fn did_you_mean(typed: &str, known: &[&str]) -> String {
    nearest(typed, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"))
}

/// The one of `known` that `typed` was probably meant to be.
pub(super) fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    let close = |known: &&str| {
        let slips = 1 + known.len() / 5;
        typed.len().abs_diff(known.len()) <= slips && distance(typed, known) <= slips
    };
    known.iter().copied().filter(close).min_by_key(|known| distance(typed, known))
}

/// How many slips (a byte too much, missing, wrong, or swapped with its neighbour) lead from `a` to `b`: the optimal
/// string alignment distance. Takes time and memory in proportion to the product of the lengths.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let wrong = usize::from(a[i - 1] != b[j - 1]);
                let one = (table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                let best = one.min(table[i - 1][j - 1] + wrong);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(table[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_slips() {
        let table = [
            ("linger", "linger", 0),
            ("lingr", "linger", 1),
            ("lingger", "linger", 1),
            ("lynger", "linger", 1),
            ("ligner", "linger", 1),
            ("hsl", "hls", 1),
            ("", "abc", 3),
            ("gop_cache", "gop", 6),
        ];
        for (a, b, slips) in table {
            assert_eq!(distance(a, b), slips, "{a} -> {b}");
            assert_eq!(distance(b, a), slips, "{b} -> {a}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["flush", "wait", "gop", "stall_timeout", "window"];
        assert_eq!(nearest("widnow", &known), Some("window"));
        assert_eq!(nearest("stall-timout", &known), Some("stall_timeout"));
        assert_eq!(nearest("queue_length", &known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
    }
}
