//! The path of a request: segments, each decoded once and after it was split, some of them empty.

/// The segments below `/api`, or `None` when the path is elsewhere or has a broken escape. One
/// slash at the end counts for nothing (RabbitMQ 3.10).
pub(super) fn segments(path: &str) -> Option<Vec<Vec<u8>>> {
    let below = path.strip_prefix("/api/")?;
    let below = below.strip_suffix('/').unwrap_or(below);
    below.split('/').map(decoded).collect()
}

/// A segment without its escapes; a plus is a plus.
pub(super) fn decoded(segment: &str) -> Option<Vec<u8>> {
    unescaped(segment.bytes())
}

/// A name or a value of a form, where a plus is a space.
pub(super) fn decoded_form(text: &str) -> Option<Vec<u8>> {
    unescaped(text.bytes().map(|octet| if octet == b'+' { b' ' } else { octet }))
}

fn unescaped(mut octets: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while let Some(octet) = octets.next() {
        if octet == b'%' {
            let digits =
                [octets.next()?, octets.next()?].map(|digit| char::from(digit).to_digit(16));
            let [Some(high), Some(low)] = digits else { return None };
            text.push((high << 4 | low) as u8);
        } else {
            text.push(octet);
        }
    }
    Some(text)
}

/// A value as a form has it, where a space is a plus; `~` is escaped, too (RabbitMQ 3.10).
pub(super) fn encoded_form(value: &[u8]) -> String {
    encoded(value).replace("%20", "+").replace('~', "%7E")
}

/// A name as it stands in a path: only letters, digits, `-`, `.`, `_` and `~` stand for themselves.
pub(super) fn encoded(name: &[u8]) -> String {
    let mut text = String::new();
    for &octet in name {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(octet.into());
            }
            _ => text.push_str(&format!("%{octet:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<&[&str]>) {
        let expected: Option<Vec<Vec<u8>>> =
            expected.map(|segments| segments.iter().map(|text| text.as_bytes().to_vec()).collect());
        assert_eq!(segments(path), expected, "{path}");
    }

    #[test]
    fn segments_are_decoded_once_after_the_split() {
        check("/api/queues/%2F/a%2fb", Some(&["queues", "/", "a/b"]));
        check("/api/queues/%2F/100%2525", Some(&["queues", "/", "100%25"]));
        check("/api/queues/v/a+b%20c", Some(&["queues", "v", "a+b c"]));
    }

    #[test]
    fn segments_may_be_empty_but_for_the_last() {
        check("/api/exchanges/%2F//publish", Some(&["exchanges", "/", "", "publish"]));
        check("/api/queues/", Some(&["queues"]));
        check("/api/exchanges/%2F//", Some(&["exchanges", "/", ""]));
    }

    #[test]
    fn what_is_elsewhere_or_broken_has_no_segments() {
        check("/apis/queues", None);
        check("/", None);
        check("/api/queues/%2", None);
        check("/api/queues/%zz", None);
    }

    #[test]
    fn a_name_survives_a_path() {
        let name = "a b/c%~\u{e4}".as_bytes();
        assert_eq!(decoded(&encoded(name)).unwrap(), name);
        assert_eq!(decoded_form("a+b%2B").unwrap(), b"a b+");
        assert_eq!(decoded_form(&encoded_form(name)).unwrap(), name);
    }
}
