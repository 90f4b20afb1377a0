//! MessagePack to JSON and back: the same maps under another encoding, so that only one codec knows the frames.
//!
//! The subset of the protocol page: string keys, no binary and no extension types, finite numbers, integers within
//! 2^53. Source: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use rmp::Marker;
use rmp::decode::{self, RmpRead};
use rmp::encode;
use serde_json::{Number, Value};

/// Nested maps and arrays. Chosen: metadata may have 8 levels, and a reader that recurses needs a bound.
const LEVELS_MAX: usize = 32;

/// What JavaScript counts exactly.
const INTEGER_MAX: u64 = 1 << 53;

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MsgpackError {
    /// The bytes end within a value.
    #[error("bytes end too early")]
    Truncated,
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    Trailing,
    /// Binary, extension or reserved types.
    #[error("type is not spoken")]
    Type,
    /// A key that is no string.
    #[error("key is not a string")]
    Key,
    /// A string that is no UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// Not a number, infinite, or an integer beyond 2^53.
    #[error("number is out of range")]
    Number,
    /// Nested too deeply.
    #[error("value is nested too deeply")]
    TooDeep,
}

/// Reads one MessagePack value and writes it as JSON; a float without fraction becomes an integer, because some
/// clients know no others.
///
/// # Errors
/// [`MsgpackError`] for whatever the subset does not have.
pub fn to_json(mut bytes: &[u8]) -> Result<String, MsgpackError> {
    let mut json = String::with_capacity(bytes.len() + bytes.len() / 2);
    value(&mut bytes, &mut json, 0)?;
    if bytes.is_empty() { Ok(json) } else { Err(MsgpackError::Trailing) }
}

/// Writes JSON as MessagePack; integers beyond 2^53 become floats, as JavaScript reads them anyway.
///
/// # Errors
/// The reader's error when the text is no JSON.
pub fn from_json(json: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::with_capacity(json.len());
    write_value(&serde_json::from_str(json)?, &mut bytes);
    Ok(bytes)
}

fn value(bytes: &mut &[u8], json: &mut String, level: usize) -> Result<(), MsgpackError> {
    let marker = decode::read_marker(bytes).map_err(|_| MsgpackError::Truncated)?;
    match marker {
        Marker::Null => json.push_str("null"),
        Marker::True => json.push_str("true"),
        Marker::False => json.push_str("false"),
        Marker::FixPos(number) => integer(json, i128::from(number))?,
        Marker::FixNeg(number) => integer(json, i128::from(number))?,
        Marker::U8 => integer(json, i128::from(u8::from_be_bytes(take(bytes)?)))?,
        Marker::U16 => integer(json, i128::from(u16::from_be_bytes(take(bytes)?)))?,
        Marker::U32 => integer(json, i128::from(u32::from_be_bytes(take(bytes)?)))?,
        Marker::U64 => integer(json, i128::from(u64::from_be_bytes(take(bytes)?)))?,
        Marker::I8 => integer(json, i128::from(i8::from_be_bytes(take(bytes)?)))?,
        Marker::I16 => integer(json, i128::from(i16::from_be_bytes(take(bytes)?)))?,
        Marker::I32 => integer(json, i128::from(i32::from_be_bytes(take(bytes)?)))?,
        Marker::I64 => integer(json, i128::from(i64::from_be_bytes(take(bytes)?)))?,
        Marker::F32 => float(json, f64::from(f32::from_be_bytes(take(bytes)?)))?,
        Marker::F64 => float(json, f64::from_be_bytes(take(bytes)?))?,
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let count = length(marker, bytes)?;
            array(bytes, json, count, level + 1)?;
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let count = length(marker, bytes)?;
            map(bytes, json, count, level + 1)?;
        }
        _ => text(marker, bytes, json).map_err(|error| match error {
            MsgpackError::Key => MsgpackError::Type,
            other => other,
        })?,
    }
    Ok(())
}

fn array(bytes: &mut &[u8], json: &mut String, count: u32, level: usize) -> Result<(), MsgpackError> {
    if level > LEVELS_MAX {
        return Err(MsgpackError::TooDeep);
    }
    json.push('[');
    for n in 0..count {
        if n > 0 {
            json.push(',');
        }
        value(bytes, json, level)?;
    }
    json.push(']');
    Ok(())
}

fn map(bytes: &mut &[u8], json: &mut String, count: u32, level: usize) -> Result<(), MsgpackError> {
    if level > LEVELS_MAX {
        return Err(MsgpackError::TooDeep);
    }
    json.push('{');
    for n in 0..count {
        if n > 0 {
            json.push(',');
        }
        let marker = decode::read_marker(bytes).map_err(|_| MsgpackError::Truncated)?;
        text(marker, bytes, json)?;
        json.push(':');
        value(bytes, json, level)?;
    }
    json.push('}');
    Ok(())
}

/// Copies a string; anything else is no key.
fn text(marker: Marker, bytes: &mut &[u8], json: &mut String) -> Result<(), MsgpackError> {
    if !matches!(marker, Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32) {
        return Err(MsgpackError::Key);
    }
    let count = usize::try_from(length(marker, bytes)?).map_err(|_| MsgpackError::Truncated)?;
    let (text, rest) = bytes.split_at_checked(count).ok_or(MsgpackError::Truncated)?;
    *bytes = rest;
    let text = std::str::from_utf8(text).map_err(|_| MsgpackError::NotUtf8)?;
    json.push_str(&Value::from(text).to_string());
    Ok(())
}

fn length(marker: Marker, bytes: &mut &[u8]) -> Result<u32, MsgpackError> {
    Ok(match marker {
        Marker::FixStr(count) | Marker::FixArray(count) | Marker::FixMap(count) => u32::from(count),
        Marker::Str8 => u32::from(u8::from_be_bytes(take(bytes)?)),
        Marker::Str16 | Marker::Array16 | Marker::Map16 => u32::from(u16::from_be_bytes(take(bytes)?)),
        _ => u32::from_be_bytes(take(bytes)?),
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], MsgpackError> {
    let mut taken = [0; N];
    bytes.read_exact_buf(&mut taken).map_err(|_| MsgpackError::Truncated)?;
    Ok(taken)
}

fn integer(json: &mut String, number: i128) -> Result<(), MsgpackError> {
    if number.unsigned_abs() > u128::from(INTEGER_MAX) {
        return Err(MsgpackError::Number);
    }
    json.push_str(&number.to_string());
    Ok(())
}

fn float(json: &mut String, number: f64) -> Result<(), MsgpackError> {
    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    let max = INTEGER_MAX as f64;
    if number.fract() == 0.0 && number.abs() <= max {
        #[expect(clippy::cast_possible_truncation, reason = "within 2^53")]
        return integer(json, number as i128);
    }
    let number = serde_json::Number::from_f64(number).ok_or(MsgpackError::Number)?;
    json.push_str(&number.to_string());
    Ok(())
}

fn write_value(value: &Value, bytes: &mut Vec<u8>) {
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    match value {
        Value::Null => infallible(encode::write_nil(bytes)),
        Value::Bool(truth) => infallible(encode::write_bool(bytes, *truth)),
        Value::Number(number) => write_number(number, bytes),
        Value::String(text) => infallible(encode::write_str(bytes, text)),
        Value::Array(items) => {
            infallible(encode::write_array_len(bytes, length(items.len())));
            items.iter().for_each(|item| write_value(item, bytes));
        }
        Value::Object(map) => {
            infallible(encode::write_map_len(bytes, length(map.len())));
            for (key, value) in map {
                infallible(encode::write_str(bytes, key));
                write_value(value, bytes);
            }
        }
    }
}

fn write_number(number: &Number, bytes: &mut Vec<u8>) {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), ..) if integer.unsigned_abs() <= INTEGER_MAX => {
            infallible(encode::write_sint(bytes, integer));
        }
        (_, Some(integer), _) if integer <= INTEGER_MAX => infallible(encode::write_uint(bytes, integer)),
        (.., float) => infallible(encode::write_f64(bytes, float.unwrap_or_default())),
    }
}

/// Writing to memory cannot fail.
fn infallible<T, E>(written: Result<T, E>) {
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_subset_does_not_have_is_refused() {
        let nested = [vec![0x91; LEVELS_MAX + 1], vec![0xc0]].concat();
        let cases: [(&[u8], MsgpackError); 14] = [
            (&[], MsgpackError::Truncated),
            (&[0xa3, b'a'], MsgpackError::Truncated),
            (&[0xdd, 0xff, 0xff, 0xff, 0xff], MsgpackError::Truncated),
            (&[0xdb, 0xff, 0xff, 0xff, 0xff], MsgpackError::Truncated),
            (&[0xc0, 0xc0], MsgpackError::Trailing),
            (&[0xc4, 1, 0], MsgpackError::Type),
            (&[0xd4, 1, 0], MsgpackError::Type),
            (&[0xc1], MsgpackError::Type),
            (&[0x81, 1, 1], MsgpackError::Key),
            (&[0xa1, 0xff], MsgpackError::NotUtf8),
            (&[0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1], MsgpackError::Number),
            (&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], MsgpackError::Number),
            (&[0xca, 0x7f, 0x80, 0, 0], MsgpackError::Number),
            (&nested, MsgpackError::TooDeep),
        ];
        for (bytes, error) in cases {
            assert_eq!(to_json(bytes), Err(error), "{bytes:x?}");
        }
    }

    #[test]
    fn numbers_stay_what_they_are() {
        let cases: [(&[u8], &str); 9] = [
            (&[0x7f], "127"),
            (&[0xe0], "-32"),
            (&[0xcc, 0xff], "255"),
            (&[0xd0, 0x80], "-128"),
            (&[0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0], "9007199254740992"),
            (&[0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 0], "-9007199254740992"),
            (&[0xcb, 0x40, 0x14, 0, 0, 0, 0, 0, 0], "5"),
            (&[0xcb, 0x40, 0x15, 0, 0, 0, 0, 0, 0], "5.25"),
            (&[0xca, 0x3f, 0, 0, 0], "0.5"),
        ];
        for (bytes, json) in cases {
            assert_eq!(to_json(bytes).as_deref(), Ok(json), "{bytes:x?}");
        }
        assert_eq!(from_json("18446744073709551615").unwrap(), [0xcb, 0x43, 0xf0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(from_json("-1").unwrap(), [0xff]);
        assert!(from_json("{").is_err());
    }
}
