//! Forms with files in them, as browsers and curl send them (RFC 7578).

use bytes::Bytes;

/// The boundary of such a form, from the header `Content-Type`.
pub(super) fn boundary(kind: &str) -> Option<&str> {
    let parameters = kind.strip_prefix("multipart/form-data")?;
    let found = parameters.split(';').find_map(|each| each.trim().strip_prefix("boundary="))?;
    Some(found.trim_matches('"'))
}

/// What the field of that name holds.
pub(super) fn field(body: &Bytes, boundary: &str, name: &str) -> Option<Bytes> {
    let delimiter = format!("--{boundary}");
    let wanted = format!("name=\"{name}\"");
    let mut start = find(body, delimiter.as_bytes(), 0)? + delimiter.len();
    while let Some(end) = find(body, format!("\r\n{delimiter}").as_bytes(), start) {
        let part = body.slice(start..end);
        let head_end = find(&part, b"\r\n\r\n", 0)?;
        let head = String::from_utf8_lossy(&part[..head_end]);
        if head.split([';', '\r', '\n']).any(|word| word.trim() == wanted) {
            return Some(part.slice(head_end + 4..));
        }
        start = end + 2 + delimiter.len();
    }
    None
}

fn find(octets: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = octets.get(from..)?;
    rest.windows(wanted.len()).position(|window| window == wanted).map(|found| from + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_what_stands_between_the_boundaries() {
        let body = Bytes::from_static(
            b"--x\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\n/\r\n\
              --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
              Content-Type: application/json\r\n\r\n{\r\n}\r\n--x--\r\n",
        );
        assert_eq!(boundary("multipart/form-data; boundary=\"x\""), Some("x"));
        assert_eq!(boundary("application/json"), None);
        assert_eq!(field(&body, "x", "file").unwrap(), b"{\r\n}"[..]);
        assert_eq!(field(&body, "x", "redirect").unwrap(), b"/"[..]);
        assert_eq!(field(&body, "x", "nothing"), None);
        assert_eq!(field(&body, "y", "file"), None);
    }
}
