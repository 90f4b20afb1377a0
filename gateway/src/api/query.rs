//! Parameters of a URL's query.

/// Returns the first parameter of that name that is not empty, percent-decoded. A plus stays a plus: what is
/// asked for here is ids and tokens, not words of a form.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(key, value)| *key == name && !value.is_empty());
    values.next().map(|(_, value)| percent_decoded(value))
}

/// Decodes `%41`; what is not of that form stays as it is, and what is not UTF-8 becomes the sign for it.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match escaped(rest) {
            Some((byte, tail)) => {
                decoded.push(byte);
                rest = tail;
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Reads `%41` at the front, and returns what follows it.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, tail @ ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4 | digit(*low)?, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let cases = [
            ("token=abc", Some("abc")),
            ("a=1&token=a.b-c_%41%2e&token=second", Some("a.b-c_A.")),
            ("token=&token=x", Some("x")),
            ("token=a+b", Some("a+b")),
            ("token=%C3%BC%zz%4", Some("ü%zz%4")),
            ("token=%FF", Some("\u{FFFD}")),
            ("token", None),
            ("token=", None),
            ("mytoken=a", None),
            ("", None),
        ];
        for (query, value) in cases {
            assert_eq!(parameter(query, "token").as_deref(), value, "{query}");
        }
    }
}
