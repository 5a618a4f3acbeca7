//! A limit in octets or as a share of the machine's memory, and the units that octets come in.

/// How much of something there may be, or must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// A share of the memory that this process may use at most: the machine's, or its cgroup's if
    /// that is less.
    Relative(f64),
    /// Octets.
    Absolute(u64),
}

impl Limit {
    /// The limit in octets. None: it depends on the memory, which nobody knows.
    pub fn octets(self, memory: Option<u64>) -> Option<u64> {
        match self {
            // Casts keep within bounds by themselves; a share of an octet does not matter.
            Self::Relative(share) => memory.map(|memory| (memory as f64 * share) as u64),
            Self::Absolute(octets) => Some(octets),
        }
    }
}

/// Reads `50MB`, `2GiB` or `1024` as RabbitMQ does: `k`, `kiB` and the like count in powers of
/// 1024, `kB` and the like in powers of 1000; upper and lower case are alike.
pub(super) fn octets(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.to_ascii_lowercase();
    let Some(prefix) = unit.chars().next() else { return number.parse().ok() };
    let base: u64 = match &unit[prefix.len_utf8()..] {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => return None,
    };
    let power = "kmgtp".find(prefix)? as u32 + 1;
    number.parse::<u64>().ok()?.checked_mul(base.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], expected: Option<u64>) {
        for text in texts {
            assert_eq!(octets(text), expected, "{text}");
        }
    }

    #[test]
    fn units_are_those_of_rabbitmq() {
        check(&["3"], Some(3));
        check(&["3k", "3K", "3kiB", "3kib", "3KIB", "3KiB"], Some(3 << 10));
        check(&["3kB", "3KB", "3kb"], Some(3_000));
        check(&["3m", "3M", "3MiB"], Some(3 << 20));
        check(&["3MB"], Some(3_000_000));
        check(&["3G", "3GiB"], Some(3 << 30));
        check(&["3gb"], Some(3_000_000_000));
        check(&["3PB"], Some(3_000_000_000_000_000));
        check(&["", "MB", "-1", "1.5GB", "3 MB", "3Mi", "3b", "3X", "3é", "99999999PB"], None);
    }

    #[test]
    fn a_share_is_one_of_the_memory() {
        assert_eq!(Limit::Relative(0.4).octets(Some(1000)), Some(400));
        assert_eq!(Limit::Relative(0.4).octets(None), None);
        assert_eq!(Limit::Absolute(7).octets(None), Some(7));
        assert_eq!(Limit::Relative(1e30).octets(Some(1000)), Some(u64::MAX));
    }
}
