//! The names of the protocol: methods with their arguments, and the properties of a content.

use super::{
    octets::{Kind, Reader, default_of, write_all},
    term::{Captures, Term},
};
use leveret::wire::method::Method;

/// One method: `queue.declare-ok` and its arguments in wire order.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub id: (u16, u16),
    pub name: String,
    /// A content header and body frames follow the method.
    pub has_content: bool,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq)]
struct Argument {
    name: String,
    kind: Kind,
    is_reserved: bool,
}

/// The properties of a content in the order of their flags, the highest first.
pub const PROPERTIES: [(&str, Kind); 14] = [
    ("content-type", Kind::ShortString),
    ("content-encoding", Kind::ShortString),
    ("headers", Kind::Table),
    ("delivery-mode", Kind::Octet),
    ("priority", Kind::Octet),
    ("correlation-id", Kind::ShortString),
    ("reply-to", Kind::ShortString),
    ("expiration", Kind::ShortString),
    ("message-id", Kind::ShortString),
    ("timestamp", Kind::LongLong),
    ("type", Kind::ShortString),
    ("user-id", Kind::ShortString),
    ("app-id", Kind::ShortString),
    ("cluster-id", Kind::ShortString),
];

impl Shape {
    /// The method that a scenario calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|shape| shape.name == name)
    }

    /// The method with this class and method id.
    pub fn with_id(id: (u16, u16)) -> Option<Self> {
        Self::all().find(|shape| shape.id == id)
    }

    fn all() -> impl Iterator<Item = Self> {
        Method::TABLE.iter().map(|row| Self {
            id: row.id,
            name: row.name.to_owned(),
            has_content: row.has_content,
            arguments: row
                .arguments
                .iter()
                .map(|(name, kind)| Argument {
                    name: argument_name(name, kind),
                    kind: kind_of(kind),
                    is_reserved: kind.starts_with("Reserved"),
                })
                .collect(),
        })
    }

    pub fn is_connection_wide(&self) -> bool {
        self.id.0 == 10
    }

    /// The name by which the protocol knows what a scenario calls `name`.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let plain = |text: &str| text.replace('-', "");
        let found = self.arguments.iter().find(|a| plain(&a.name) == plain(name));
        found.map(|argument| argument.name.as_str())
    }

    /// The payload of a method frame; what is not named has its default.
    pub fn payload(
        &self,
        named: &[(String, Term)],
        captures: &Captures,
    ) -> Result<Vec<u8>, String> {
        let mut values = Vec::new();
        for argument in &self.arguments {
            let value = match named.iter().find(|(name, _)| *name == argument.name) {
                Some((name, term)) => {
                    term.resolved(captures).map_err(|why| format!("{name}: {why}"))?
                }
                None => default_of(argument.kind),
            };
            values.push((argument.kind, value));
        }
        let mut payload = self.id.0.to_be_bytes().to_vec();
        payload.extend(self.id.1.to_be_bytes());
        payload.extend(write_all(&values)?);
        Ok(payload)
    }

    /// The arguments in a method frame, without its class and method id.
    pub fn read(&self, octets: &[u8]) -> Result<Vec<(String, Term)>, String> {
        let mut reader = Reader::new(octets);
        let mut arguments = Vec::new();
        for argument in &self.arguments {
            let value = reader.read(argument.kind)?;
            if !argument.is_reserved {
                arguments.push((argument.name.clone(), value));
            }
        }
        if reader.is_empty() { Ok(arguments) } else { Err("octets follow the arguments".into()) }
    }
}

/// The payload of a content header frame.
pub fn header_payload(
    class: u16,
    weight: u16,
    size: u64,
    properties: &[(String, Term)],
    captures: &Captures,
) -> Result<Vec<u8>, String> {
    let mut flags: u16 = 0;
    let mut values = Vec::new();
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if let Some((_, term)) = properties.iter().find(|(named, _)| named == name) {
            flags |= 1 << (15 - index);
            values.push((*kind, term.resolved(captures)?));
        }
    }
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(weight.to_be_bytes());
    payload.extend(size.to_be_bytes());
    payload.extend(flags.to_be_bytes());
    payload.extend(write_all(&values)?);
    Ok(payload)
}

/// The size of the body and the properties in a content header frame.
pub fn read_header(payload: &[u8]) -> Result<(u64, Vec<(String, Term)>), String> {
    let mut reader = Reader::new(payload);
    let (class, weight) = (reader.unsigned(2)?, reader.unsigned(2)?);
    if (class, weight) != (60, 0) {
        return Err(format!("content header of class {class}, weight {weight}"));
    }
    let size = reader.unsigned(8)? as u64;
    let flags = reader.unsigned(2)?;
    let mut properties = Vec::new();
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags & (1 << (15 - index)) != 0 {
            properties.push(((*name).to_owned(), reader.read(*kind)?));
        }
    }
    if reader.is_empty() { Ok((size, properties)) } else { Err("octets follow the header".into()) }
}

/// What the specification calls an argument; the tickets of AMQP 0-8 keep their old name.
fn argument_name(name: &str, kind: &str) -> String {
    match (name, kind) {
        ("kind", _) => "type".to_owned(),
        ("reserved_1", "Reserved<u16>") => "ticket".to_owned(),
        _ => name.replace('_', "-"),
    }
}

fn kind_of(name: &str) -> Kind {
    let inner = name.strip_prefix("Reserved").map_or(name, |reserved| {
        reserved.trim_matches(|c: char| c == '<' || c == '>' || c.is_whitespace())
    });
    match inner {
        "bool" => Kind::Bit,
        "u8" => Kind::Octet,
        "u16" => Kind::Short,
        "u32" => Kind::Long,
        "u64" => Kind::LongLong,
        "LongString" => Kind::LongString,
        "FieldTable" => Kind::Table,
        // Every other type is a name with rules of its own, a short string on the wire.
        _ => Kind::ShortString,
    }
}

#[cfg(test)]
mod tests {
    use super::{Captures, Kind, PROPERTIES, Shape, header_payload, read_header};
    use crate::player::reading::Reading;

    #[test]
    fn methods_are_found_by_the_names_of_the_specification() {
        let declare = Shape::named("queue.declare").unwrap();
        assert_eq!(declare.id, (50, 10));
        assert_eq!(declare.argument("nowait"), Some("no-wait"));
        assert_eq!(declare.argument("colour"), None);
        assert_eq!(Shape::named("exchange.declare").unwrap().argument("type"), Some("type"));
        assert_eq!(Shape::with_id((60, 111)).unwrap().name, "basic.recover-ok");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let line = "reply-code=404 reply-text=\"no\" class-id=50 method-id=10";
        let (named, _) = Reading::new(line).named_terms().unwrap();
        let shape = Shape::named("channel.close").unwrap();
        let payload = shape.payload(&named, &Captures::new()).unwrap();
        assert_eq!(payload[..6], [0, 20, 0, 40, 0x01, 0x94]);
        assert_eq!(shape.read(&payload[4..]).unwrap(), named);
    }

    #[test]
    fn properties_are_flagged_from_the_highest_bit_down() {
        let (named, _) = Reading::new("content-type=\"a\" cluster-id=\"b\"").named_terms().unwrap();
        let payload = header_payload(60, 0, 3, &named, &Captures::new()).unwrap();
        assert_eq!(payload[12..14], [0x80, 0x04]);
        assert_eq!(read_header(&payload).unwrap(), (3, named));
        assert_eq!(PROPERTIES[2], ("headers", Kind::Table));
    }
}
