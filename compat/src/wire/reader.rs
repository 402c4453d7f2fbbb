//! The fields of one protobuf message, one after the other, read in place.
//!
//! Follows protobufjs 6 where it is lenient on purpose: unknown fields are skipped, whole groups too,
//! whatever their end says. Where its leniency is an accident, as in reading beyond the end of an inner
//! message, data is refused instead.

/// Data that is not protobuf, or not of the schema's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A string, bytes, or an inner message.
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed32(_) | Self::Fixed64 => Err(Malformed),
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
            Self::Varint(_) | Self::Fixed32(_) | Self::Fixed64 | Self::Bytes(_) => Err(Malformed),
        }
    }

    /// Every number but 0 is true.
    pub(super) fn bool(self) -> Result<bool, Malformed> {
        Ok(self.uint32()? != 0)
    }

    pub(super) fn fixed32(self) -> Result<u32, Malformed> {
        match self {
            Self::Fixed32(number) => Ok(number),
            Self::Varint(_) | Self::Fixed64 | Self::Bytes(_) => Err(Malformed),
        }
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
const GROUP: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        while !self.rest.is_empty() {
            match self.key()? {
                (_, GROUP) => self.skip_group()?,
                (number, wire_type) => return Ok(Some((number, self.value(wire_type)?))),
            }
        }
        Ok(None)
    }

    /// Number and wire type of the field that begins here.
    fn key(&mut self) -> Result<(u32, u32), Malformed> {
        let key = Value::Varint(self.varint()?).uint32()?;
        match key >> 3 {
            0 => Err(Malformed),
            number => Ok((number, key & 7)),
        }
    }

    fn value(&mut self, wire_type: u32) -> Result<Value<'a>, Malformed> {
        match wire_type {
            VARINT => self.varint().map(Value::Varint),
            FIXED64 => self.array::<8>().map(|_| Value::Fixed64),
            BYTES => {
                let length = Value::Varint(self.varint()?).uint32()?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
                self.rest = rest;
                Ok(Value::Bytes(bytes))
            }
            FIXED32 => self
                .array()
                .map(|bytes| Value::Fixed32(u32::from_le_bytes(*bytes))),
            _ => Err(Malformed),
        }
    }

    /// Groups may stand in groups as deep as the data is long, so this does not recurse.
    fn skip_group(&mut self) -> Result<(), Malformed> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.key()?.1 {
                GROUP => depth += 1,
                GROUP_END => depth -= 1,
                wire_type => drop(self.value(wire_type)?),
            }
        }
        Ok(())
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
