//! The fields of one protobuf message, one after the other, read in place.
//!
//! [`fields`] gives what a message says; [`Field::first`] what stands at its beginning, for whoever
//! rewrites it there.
//!
//! Follows protobufjs 6 where it is lenient on purpose: unknown fields are skipped, whole groups too,
//! whatever their end says. Where its leniency is an accident, as in reading beyond the end of an inner
//! message, data is refused instead.

/// Data that is not protobuf, or not of the schema's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number in as many bytes as it needs.
    Varint(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Eight bytes; the schema has none.
    Fixed64,
    /// A string, bytes, or an inner message.
    Bytes(&'a [u8]),
    /// What follows, up to the end, is of a group.
    GroupStart,
    /// A group ends.
    GroupEnd,
}

impl<'a> Value<'a> {
    /// A string, bytes, or an inner message.
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_)
            | Self::Fixed32(_)
            | Self::Fixed64
            | Self::GroupStart
            | Self::GroupEnd => Err(Malformed),
        }
    }

    /// The low 32 bits of a number. protobufjs takes numbers of up to five bytes and of ten, as negative
    /// ones have; those between them it misreads, so they are refused (recording
    /// `publish_binary_lenient`).
    pub(super) fn uint32(self) -> Result<u32, Malformed> {
        match self {
            Self::Varint(number) if !(1 << 35..1 << 63).contains(&number) => {
                u32::try_from(number & u64::from(u32::MAX)).map_err(|_| Malformed)
            }
            Self::Varint(_)
            | Self::Fixed32(_)
            | Self::Fixed64
            | Self::Bytes(_)
            | Self::GroupStart
            | Self::GroupEnd => Err(Malformed),
        }
    }

    /// Every number but 0 is true.
    pub(super) fn bool(self) -> Result<bool, Malformed> {
        Ok(self.uint32()? != 0)
    }

    pub(super) fn fixed32(self) -> Result<u32, Malformed> {
        match self {
            Self::Fixed32(number) => Ok(number),
            Self::Varint(_)
            | Self::Fixed64
            | Self::Bytes(_)
            | Self::GroupStart
            | Self::GroupEnd => Err(Malformed),
        }
    }
}

/// One field where it stands. The start and the end of a group are fields too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// As in the schema.
    pub number: u32,
    /// What stands in it.
    pub value: Value<'a>,
    /// Bytes in front of the value: the key, and the length of bytes.
    pub start: usize,
    /// Bytes of the whole field.
    pub end: usize,
}

impl<'a> Field<'a> {
    /// The field with which `data` begins; `None` where that is none.
    #[must_use]
    pub fn first(data: &'a [u8]) -> Option<Self> {
        Fields { rest: data }.any().ok()
    }
}

/// The fields of a message: number and value of each, groups left out. Nothing comes behind an error.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// Starts to read a message.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.field().transpose();
        if matches!(field, Some(Err(Malformed))) {
            self.rest = &[];
        }
        field
    }
}

/// A key's low three bits.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;

impl<'a> Fields<'a> {
    /// Groups may stand in groups as deep as the data is long, so this does not recurse.
    fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        let mut depth = 0_usize;
        while depth > 0 || !self.rest.is_empty() {
            let Field { number, value, .. } = self.any()?;
            match value {
                Value::GroupStart => depth += 1,
                Value::GroupEnd => depth = depth.checked_sub(1).ok_or(Malformed)?,
                Value::Varint(_) | Value::Fixed32(_) | Value::Fixed64 | Value::Bytes(_) => {
                    if depth == 0 {
                        return Ok(Some((number, value)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The next field, of a group or not.
    fn any(&mut self) -> Result<Field<'a>, Malformed> {
        let length = self.rest.len();
        let key = Value::Varint(self.varint()?).uint32()?;
        let number = key >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        let mut start = length - self.rest.len();
        let value = match key & 7 {
            VARINT => Value::Varint(self.varint()?),
            FIXED64 => self.array::<8>().map(|_| Value::Fixed64)?,
            BYTES => {
                let bytes = self.bytes()?;
                start = length - self.rest.len() - bytes.len();
                Value::Bytes(bytes)
            }
            GROUP_START => Value::GroupStart,
            GROUP_END => Value::GroupEnd,
            FIXED32 => Value::Fixed32(u32::from_le_bytes(*self.array()?)),
            _ => return Err(Malformed),
        };
        Ok(Field {
            number,
            value,
            start,
            end: length - self.rest.len(),
        })
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = Value::Varint(self.varint()?).uint32()?;
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_where_it_stands() {
        let mut rest = &b"\x0a\x03abc\x10\x96\x01\x1b\x1c\x25\x01\x00\x00\x00\x0a\x04abc"[..];
        let mut found = Vec::new();
        while let Some(field) = Field::first(rest) {
            found.push((field.number, field.value, field.start, field.end));
            rest = rest.split_at(field.end).1;
        }
        assert_eq!(
            found,
            [
                (1, Value::Bytes(b"abc"), 2, 5),
                (2, Value::Varint(150), 1, 3),
                (3, Value::GroupStart, 1, 1),
                (3, Value::GroupEnd, 1, 1),
                (4, Value::Fixed32(1), 1, 5),
            ]
        );
        assert_eq!(rest, b"\x0a\x04abc");
    }
}
