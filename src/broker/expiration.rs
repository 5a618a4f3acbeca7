//! A message's `expiration`: how many milliseconds it may wait, as decimal text.

use std::time::Duration;

use crate::model::{ExpirationFault, LONGEST_MS, ShortString};

/// Reads an `expiration`: a sign and leading zeros are allowed, nothing else (RabbitMQ 3.10).
pub(super) fn parse_expiration(text: &[u8]) -> Result<Duration, ExpirationFault> {
    let (negative, unsigned) = match text {
        [b'-', unsigned @ ..] => (true, unsigned),
        [b'+', unsigned @ ..] => (false, unsigned),
        unsigned => (false, unsigned),
    };
    let length = unsigned.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (digits, leftover) = unsigned.split_at(length);
    if digits.is_empty() {
        return Err(ExpirationFault::NoInteger);
    }
    if !leftover.is_empty() {
        let leftover = leftover[..leftover.len().min(255)].to_vec();
        let leftover = ShortString::new(leftover.into()).expect("cut to 255 octets");
        return Err(ExpirationFault::Leftover(leftover));
    }
    let magnitude = magnitude(digits);
    if negative && magnitude > 0 {
        return Err(ExpirationFault::Negative(i64::try_from(-magnitude).unwrap_or(i64::MIN)));
    }
    if magnitude > i128::from(LONGEST_MS) {
        return Err(ExpirationFault::TooLarge(magnitude));
    }
    Ok(Duration::from_millis(u64::try_from(magnitude).expect("not negative, and in range")))
}

/// The number, or the greatest there is: beyond that, only its size matters.
fn magnitude(digits: &[u8]) -> i128 {
    digits.iter().fold(0, |number: i128, digit| {
        number.saturating_mul(10).saturating_add(i128::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_with_a_sign_are_milliseconds() {
        for (text, milliseconds) in
            [("0", 0), ("-0", 0), ("+5", 5), ("007", 7), ("315360000000", 315_360_000_000)]
        {
            assert_eq!(
                parse_expiration(text.as_bytes()),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_fault() {
        let leftover = |text| ExpirationFault::Leftover(ShortString::from_static(text));
        for (text, fault) in [
            ("", ExpirationFault::NoInteger),
            (" 5", ExpirationFault::NoInteger),
            ("+", ExpirationFault::NoInteger),
            ("--1", ExpirationFault::NoInteger),
            ("+-5", ExpirationFault::NoInteger),
            (".5", ExpirationFault::NoInteger),
            ("é", ExpirationFault::NoInteger),
            ("1.5", leftover(".5")),
            ("5 ", leftover(" ")),
            ("-5x", leftover("x")),
            ("0x10", leftover("x10")),
            ("-1", ExpirationFault::Negative(-1)),
            ("-99999999999999999999", ExpirationFault::Negative(i64::MIN)),
            ("315360000001", ExpirationFault::TooLarge(315_360_000_001)),
            ("99999999999999999999", ExpirationFault::TooLarge(99_999_999_999_999_999_999)),
        ] {
            assert_eq!(parse_expiration(text.as_bytes()), Err(fault), "{text}");
        }
    }
}
