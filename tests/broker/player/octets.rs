//! Writes and reads the protocol's types by itself, so that a fault of `wire` cannot hide here.

use super::term::{Rest, Term};

/// The types of a method's arguments and of a content's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bit,
    Octet,
    Short,
    Long,
    LongLong,
    ShortString,
    LongString,
    Table,
}

/// What an argument is when it is not written.
pub fn default_of(kind: Kind) -> Term {
    match kind {
        Kind::Bit => Term::Bool(false),
        Kind::Octet | Kind::Short | Kind::Long | Kind::LongLong => Term::Number('n', 0),
        Kind::ShortString | Kind::LongString => Term::text(""),
        Kind::Table => Term::Table(Vec::new(), Rest::None),
    }
}

/// Arguments one after the other, bits packed from the lowest up.
pub fn write_all(values: &[(Kind, Term)]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bits = 0;
    for (kind, value) in values {
        if *kind == Kind::Bit {
            let Term::Bool(bit) = value else { return Err(format!("{value} is no bit")) };
            if bits % 8 == 0 {
                out.push(0);
            }
            *out.last_mut().expect("just pushed") |= u8::from(*bit) << (bits % 8);
            bits += 1;
            continue;
        }
        bits = 0;
        write(*kind, value, &mut out)?;
    }
    Ok(out)
}

fn write(kind: Kind, value: &Term, out: &mut Vec<u8>) -> Result<(), String> {
    match (kind, value) {
        (Kind::Octet, Term::Number('n', number)) => integer(*number, 1, out),
        (Kind::Short, Term::Number('n', number)) => integer(*number, 2, out),
        (Kind::Long, Term::Number('n', number)) => integer(*number, 4, out),
        (Kind::LongLong, Term::Number('n', number)) => integer(*number, 8, out),
        (Kind::ShortString, Term::Text('S', text)) => short_string(text, out),
        (Kind::LongString, Term::Text('S', text)) => long_string(text, out),
        // A response of AMQPLAIN is a table without its length.
        (Kind::LongString, Term::Table(entries, _)) => {
            let mut inside = Vec::new();
            write_entries(entries, &mut inside)?;
            long_string(&inside, out)
        }
        (Kind::Table, Term::Table(entries, _)) => {
            let mut inside = Vec::new();
            write_entries(entries, &mut inside)?;
            long_string(&inside, out)
        }
        _ => Err(format!("{value} is no {kind:?}")),
    }
}

fn integer(number: i128, size: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let limit = 1_i128 << (8 * size);
    if number >= limit || number < -(limit / 2) {
        return Err(format!("{number} does not fit in {size} octets"));
    }
    out.extend(&number.to_be_bytes()[16 - size..]);
    Ok(())
}

fn short_string(text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    out.push(u8::try_from(text.len()).map_err(|_| "a short string ends at 255 octets")?);
    out.extend(text);
    Ok(())
}

fn long_string(text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    integer(text.len() as i128, 4, out)?;
    out.extend(text);
    Ok(())
}

fn write_entries(entries: &[(Vec<u8>, Term)], out: &mut Vec<u8>) -> Result<(), String> {
    for (key, value) in entries {
        short_string(key, out)?;
        write_tagged(value, out)?;
    }
    Ok(())
}

fn write_tagged(value: &Term, out: &mut Vec<u8>) -> Result<(), String> {
    let tag = match value {
        Term::Number('n', _) => 'I',
        Term::Number(tag, _) | Term::Float(tag, _) | Term::Text(tag, _) => *tag,
        Term::Decimal(..) => 'D',
        Term::Bool(_) => 't',
        Term::Void => 'V',
        Term::Array(..) => 'A',
        Term::Table(..) => 'F',
        Term::Anything | Term::Like(_) | Term::Capture(_) => {
            return Err(format!("{value} cannot be sent"));
        }
    };
    out.push(tag as u8);
    match value {
        Term::Number(_, number) => integer(*number, size_of_tag(tag), out),
        Term::Float('f', number) => {
            out.extend((*number as f32).to_be_bytes());
            Ok(())
        }
        Term::Float(_, number) => {
            out.extend(number.to_be_bytes());
            Ok(())
        }
        Term::Decimal(scale, digits) => {
            out.push(*scale);
            out.extend(digits.to_be_bytes());
            Ok(())
        }
        Term::Bool(bit) => {
            out.push(u8::from(*bit));
            Ok(())
        }
        Term::Text(_, text) => long_string(text, out),
        Term::Array(items, _) => {
            let mut inside = Vec::new();
            items.iter().try_for_each(|item| write_tagged(item, &mut inside))?;
            long_string(&inside, out)
        }
        Term::Table(..) => write(Kind::Table, value, out),
        Term::Void | Term::Anything | Term::Like(_) | Term::Capture(_) => Ok(()),
    }
}

fn size_of_tag(tag: char) -> usize {
    match tag {
        'b' | 'B' => 1,
        's' | 'u' => 2,
        'I' | 'i' => 4,
        _ => 8,
    }
}

/// Reads values off a payload.
pub struct Reader<'a> {
    rest: &'a [u8],
    bits: u32,
    packed: u8,
}

impl<'a> Reader<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, bits: 0, packed: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn read(&mut self, kind: Kind) -> Result<Term, String> {
        if kind == Kind::Bit {
            if self.bits.is_multiple_of(8) {
                self.packed = self.take(1)?[0];
            }
            let bit = self.packed & (1 << (self.bits % 8)) != 0;
            self.bits += 1;
            return Ok(Term::Bool(bit));
        }
        self.bits = 0;
        Ok(match kind {
            Kind::Octet => Term::Number('n', self.unsigned(1)?),
            Kind::Short => Term::Number('n', self.unsigned(2)?),
            Kind::Long => Term::Number('n', self.unsigned(4)?),
            Kind::LongLong => Term::Number('n', self.unsigned(8)?),
            Kind::ShortString => Term::Text('S', self.short_string()?),
            Kind::LongString => Term::Text('S', self.long_string()?.to_vec()),
            Kind::Table | Kind::Bit => Self::new(self.long_string()?).entries()?,
        })
    }

    pub fn unsigned(&mut self, size: usize) -> Result<i128, String> {
        Ok(self.take(size)?.iter().fold(0, |number, octet| number << 8 | i128::from(*octet)))
    }

    fn signed(&mut self, size: usize) -> Result<i128, String> {
        let number = self.unsigned(size)?;
        let limit = 1 << (8 * size);
        Ok(if number >= limit / 2 { number - limit } else { number })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| format!("{length} octets due, {} left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn short_string(&mut self) -> Result<Vec<u8>, String> {
        let length = self.take(1)?[0];
        Ok(self.take(length.into())?.to_vec())
    }

    fn long_string(&mut self) -> Result<&'a [u8], String> {
        let length = self.unsigned(4)?;
        self.take(length as usize)
    }

    fn entries(&mut self) -> Result<Term, String> {
        let mut entries = Vec::new();
        while !self.is_empty() {
            entries.push((self.short_string()?, self.tagged()?));
        }
        Ok(Term::Table(entries, Rest::None))
    }

    fn tagged(&mut self) -> Result<Term, String> {
        let tag = char::from(self.take(1)?[0]);
        Ok(match tag {
            't' => Term::Bool(self.take(1)?[0] != 0),
            'b' | 's' | 'I' | 'l' | 'L' => Term::Number(tag, self.signed(size_of_tag(tag))?),
            'B' | 'u' | 'i' | 'T' => Term::Number(tag, self.unsigned(size_of_tag(tag))?),
            'f' => {
                let octets = self.take(4)?.try_into().expect("four octets");
                Term::Float('f', f32::from_be_bytes(octets).into())
            }
            'd' => {
                let octets = self.take(8)?.try_into().expect("eight octets");
                Term::Float('d', f64::from_be_bytes(octets))
            }
            'D' => Term::Decimal(self.take(1)?[0], self.unsigned(4)? as u32),
            'S' | 'x' => Term::Text(tag, self.long_string()?.to_vec()),
            'A' => {
                let mut inside = Self::new(self.long_string()?);
                let mut items = Vec::new();
                while !inside.is_empty() {
                    items.push(inside.tagged()?);
                }
                Term::Array(items, Rest::None)
            }
            'F' => self.read(Kind::Table)?,
            'V' => Term::Void,
            _ => return Err(format!("a client cannot read a value of type {tag:?}")),
        })
    }
}
