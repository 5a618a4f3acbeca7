//! Turns what a scenario sends into octets.

use super::{
    protocol::{PROPERTIES, header_payload},
    script::{Frame, Outgoing},
    term::{Captures, Term},
};

/// The octets of `outgoing`, its body cut into frames of at most `frame_max`.
pub fn octets_of(
    outgoing: &Outgoing,
    channel: u16,
    frame_max: usize,
    captures: &Captures,
) -> Result<Vec<u8>, String> {
    Ok(match outgoing {
        Outgoing::Raw(octets) => octets.clone(),
        Outgoing::Frame(described) => frame_as_described(channel, described),
        Outgoing::Method(shape, named) => {
            let mut octets = frame(1, channel, &shape.payload(named, captures)?);
            if shape.has_content {
                octets.extend(content(channel, named, frame_max, captures)?);
            }
            octets
        }
        Outgoing::MethodFrame(shape, named) => frame(1, channel, &shape.payload(named, captures)?),
        Outgoing::HeaderFrame(named) => {
            let class = number_of(named, "class")?.unwrap_or(60);
            let weight = number_of(named, "weight")?.unwrap_or(0);
            let size = number_of(named, "size")?.unwrap_or(0);
            let payload = header_payload(class as u16, weight as u16, size, named, captures)?;
            frame(2, channel, &payload)
        }
        Outgoing::BodyFrame(term) => frame(3, channel, &body_of(term, captures)?),
    })
}

/// The header and the body frames that follow a method.
fn content(
    channel: u16,
    named: &[(String, Term)],
    frame_max: usize,
    captures: &Captures,
) -> Result<Vec<u8>, String> {
    let body = match named.iter().find(|(name, _)| name == "body") {
        Some((_, term)) => body_of(term, captures)?,
        None => Vec::new(),
    };
    let properties: Vec<_> = named
        .iter()
        .filter(|(name, _)| PROPERTIES.iter().any(|(property, _)| property == name))
        .cloned()
        .collect();
    let payload = header_payload(60, 0, body.len() as u64, &properties, captures)?;
    let mut octets = frame(2, channel, &payload);
    for chunk in body.chunks(frame_max - 8) {
        octets.extend(frame(3, channel, chunk));
    }
    Ok(octets)
}

/// One frame with nothing wrong in it.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let described = Frame { kind, size: None, payload: payload.to_vec(), end: 0xCE };
    frame_as_described(channel, &described)
}

fn frame_as_described(channel: u16, frame: &Frame) -> Vec<u8> {
    let size = frame.size.unwrap_or(frame.payload.len() as u32);
    let mut octets = vec![frame.kind];
    octets.extend(channel.to_be_bytes());
    octets.extend(size.to_be_bytes());
    octets.extend(&frame.payload);
    octets.push(frame.end);
    octets
}

fn body_of(term: &Term, captures: &Captures) -> Result<Vec<u8>, String> {
    match term.resolved(captures)? {
        Term::Text(_, octets) => Ok(octets),
        other => Err(format!("{other} is no body")),
    }
}

/// The number that goes by `name`, if it is there.
pub fn number_of(named: &[(String, Term)], name: &str) -> Result<Option<u64>, String> {
    match named.iter().find(|(argument, _)| argument == name) {
        None => Ok(None),
        Some((_, Term::Number(_, number))) => Ok(Some(*number as u64)),
        Some((_, other)) => Err(format!("{name}={other} is no number")),
    }
}
